// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// object is a JSON object whose fields are taken by name, in the spelling that the API server
// demands. It keeps the first error.
type object struct {
	path   string
	fields map[string]json.RawMessage
	err    error
}

func newObject(path string, text json.RawMessage) *object {
	o := &object{path: path}
	if json.Unmarshal(text, &o.fields) != nil || o.fields == nil {
		o.err = fmt.Errorf("%s must be an object", path)
	}
	return o
}

// fail notes what is wrong with a field, unless something was wrong before.
func (o *object) fail(field string, err error) {
	if o.err == nil {
		o.err = fmt.Errorf("%s.%s: %w", o.path, field, err)
	}
}

// join takes over the error of an object within this one. All fields of that were taken.
func (o *object) join(inner *object) {
	if err := inner.end(); o.err == nil {
		o.err = err
	}
}

// end returns what is wrong. A field that nobody took is unknown.
func (o *object) end() error {
	for _, field := range slices.Sorted(maps.Keys(o.fields)) {
		o.fail(field, errors.New("there is no such field"))
	}
	return o.err
}

// take decodes a field, and reports whether it is there. A null is as good as none.
func (o *object) take(field string, into any) bool {
	text, found := o.fields[field]
	delete(o.fields, field)
	if !found || string(text) == "null" {
		return false
	}
	if err := json.Unmarshal(text, into); err != nil {
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) {
			err = fmt.Errorf("must not be a %s", mismatch.Value)
		}
		o.fail(field, err)
		return false
	}
	return true
}

// name takes a name, which is required.
func (o *object) name(field string, pattern *regexp.Regexp, maxBytes int) string {
	var name string
	switch {
	case !o.take(field, &name):
		o.fail(field, errors.New("is required"))
	case len(name) > maxBytes || !pattern.MatchString(name):
		o.fail(field, fmt.Errorf("%.200q is not a name of up to %d characters that matches %s", name,
			maxBytes, pattern))
	}
	return name
}

func (o *object) revision(field string) string {
	var revision string
	if o.take(field, &revision) && (revision == "" || len(revision) > maxRevision) {
		o.fail(field, fmt.Errorf("must have 1 to %d bytes", maxRevision))
	}
	return revision
}

var durationPattern = regexp.MustCompile(`^([0-9]{1,4}([.][0-9]{1,3})?h|` +
	`[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$`)

// duration takes a duration; nil: there is none.
func (o *object) duration(field string, limit limit) *time.Duration {
	const maxBytes = 32
	var text string
	if !o.take(field, &text) {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || len(text) > maxBytes || !durationPattern.MatchString(text) || d > limit.most {
		o.fail(field, fmt.Errorf("must be a duration from 0s to %s, for example 300s, 5m or 1h30m, "+
			"not %.100q", limit.text, text))
		return nil
	}
	return &d
}

// number takes a whole number; 0: there is none.
func (o *object) number(field string, least, most int64) int64 {
	var number float64
	if !o.take(field, &number) {
		return 0
	}
	if number != math.Trunc(number) || number < float64(least) || number > float64(most) {
		o.fail(field, fmt.Errorf("must be a whole number from %d to %d", least, most))
		return 0
	}
	return int64(number)
}

func (o *object) flag(field string) {
	var flag bool
	o.take(field, &flag)
}

// oneOf takes one of some words; empty: there is none.
func (o *object) oneOf(field string, words ...string) string {
	var word string
	if o.take(field, &word) && !slices.Contains(words, word) {
		o.fail(field, fmt.Errorf("must be %s, not %.100q", strings.Join(words, " or "), word))
	}
	return word
}

// child takes an object; nil: there is none.
func (o *object) child(field string) *object {
	var text json.RawMessage
	if !o.take(field, &text) {
		return nil
	}
	return newObject(o.path+"."+field, text)
}

// items takes a list of objects.
func (o *object) items(field string, most int) []*object {
	var texts []json.RawMessage
	if o.take(field, &texts) && len(texts) > most {
		o.fail(field, fmt.Errorf("must have at most %d items, not %d", most, len(texts)))
	}
	items := make([]*object, len(texts))
	for i, text := range texts {
		items[i] = newObject(fmt.Sprintf("%s.%s[%d]", o.path, field, i), text)
	}
	return items
}
