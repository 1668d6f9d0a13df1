// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/cachewright/cachewright/cache"
)

// The bounds of names, as cache.Key and docs/protocol.md have them.
const (
	maxModuleBytes    = 253
	maxOperationBytes = 128
	maxUserBytes      = 256
	maxModules        = 100
)

var moduleName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// target is what a purge covers, and how.
type target struct {
	cache.Scope

	soft bool
}

// targetOf reads the target of a purge. What the path does not name is in the query of a DELETE, or
// in the form of a POST.
func targetOf(r *http.Request) (target, error) {
	values, err := parameters(r, "soft", "user", "module")
	if err != nil {
		return target{}, err
	}
	t := target{Scope: cache.Scope{
		Module: r.PathValue("module"), Operation: r.PathValue("operation"), User: r.PathValue("user"),
	}}
	if r.URL.Path == "/user" {
		t.Module, t.User = values.Get("module"), values.Get("user")
	} else if values.Has("user") || values.Has("module") {
		return target{}, unknownField
	}
	switch values.Get("soft") {
	case "true":
		t.soft = true
	case "", "false":
	default:
		return target{}, badSoft
	}
	return t, t.check(r.URL.Path == "/user" || t.User != "")
}

// check refuses names that the cache cannot have.
func (t target) check(ofUser bool) error {
	switch {
	case ofUser && (t.User == "" || len(t.User) > maxUserBytes):
		return badUser
	case (!ofUser || t.Module != "") && !isModule(t.Module):
		return badModule
	case len(t.Operation) > maxOperationBytes:
		return badOperation
	default:
		return nil
	}
}

func isModule(name string) bool {
	return len(name) <= maxModuleBytes && moduleName.MatchString(name)
}

// parameters returns those of the query, or of the form of a POST. It refuses unknown ones: soft
// with a typo would purge hard.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badForm
	}
	if r.Method == http.MethodPost {
		if len(values) > 0 {
			return nil, unknownField
		}
		if values, err = form(r); err != nil {
			return nil, err
		}
	}
	for name, given := range values {
		if !slices.Contains(known, name) || len(given) > 1 {
			return nil, unknownField
		}
	}
	return values, nil
}

func form(r *http.Request) (url.Values, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, noForm
	}
	var large *http.MaxBytesError
	if err := r.ParseForm(); errors.As(err, &large) {
		return nil, tooLarge
	} else if err != nil {
		return nil, badForm
	}
	return r.PostForm, nil
}

// modulesOf returns the modules that a query names.
func modulesOf(r *http.Request) ([]string, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badForm
	}
	modules := values["module"]
	delete(values, "module")
	switch {
	case len(values) > 0:
		return nil, unknownField
	case len(modules) > maxModules:
		return nil, tooManyNames
	case slices.ContainsFunc(modules, func(name string) bool { return !isModule(name) }):
		return nil, badModule
	default:
		return modules, nil
	}
}
