// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"context"
	"errors"
	"net/http"

	"github.com/cachewright/cachewright/registry"
)

// problem is an answer that is an error. Its text is fixed, so it holds nothing foreign.
type problem struct {
	status int
	text   string
}

func (p problem) Error() string { return p.text }

// Problems of requests.
var (
	noSuchEndpoint = problem{
		http.StatusNotFound,
		"There is no such endpoint. If the handler is below a prefix, strip it: " +
			"http.StripPrefix(\"/admin/cache\", handler).",
	}
	noSuchMethod = problem{
		http.StatusMethodNotAllowed,
		"This endpoint does not have that method. The header Allow lists those it has.",
	}
	foreignSite = problem{
		http.StatusForbidden,
		"The request comes from a page of another site. If it is yours, or a proxy changes the host of " +
			"requests, allow its origin: cacheadmin.WithTrustedOrigin.",
	}
	tooLarge = problem{
		http.StatusRequestEntityTooLarge, "The body of the request is larger than 4 KiB.",
	}
	noForm = problem{
		http.StatusUnsupportedMediaType,
		"Send the body as application/x-www-form-urlencoded, or use DELETE, which needs none.",
	}
)

// Problems of names and parameters.
var (
	badForm      = badRequest("The form or the query of the request cannot be decoded.")
	unknownField = badRequest("A parameter has an unknown name, or is there twice.")
	badSoft      = badRequest("The parameter soft must be true or false.")
	badModule    = badRequest("The module must have 1 to 253 letters, digits, '.', '_' and '-'.")
	badOperation = badRequest("The operation must have 1 to 128 bytes.")
	badUser      = badRequest("The user must have 1 to 256 bytes.")
	tooManyNames = badRequest("Name at most 100 modules, or none for all.")
)

func badRequest(text string) problem { return problem{http.StatusBadRequest, text} }

// Problems of the cache.
var (
	unknownModules = problem{
		http.StatusServiceUnavailable,
		"The modules of the namespace are not known until the operator lists them again. " +
			"Name the module.",
	}
	unauthorized = problem{
		http.StatusBadGateway,
		"Redis refuses the credentials of the application, or their ACL forbids the call. " +
			"docs/operations.md has the ACL.",
	}
	unreachable = problem{
		http.StatusServiceUnavailable, "Redis does not answer in time. Try again when it is back.",
	}
	failed = problem{
		http.StatusBadGateway, "The cache failed. The log of the application says why.",
	}
)

// problemOf says what an error means to a person.
func problemOf(err error) problem {
	var known problem
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, registry.ErrModulesUnknown):
		return unknownModules
	case errors.Is(err, registry.ErrUnauthorized):
		return unauthorized
	case errors.Is(err, registry.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return unreachable
	default:
		return failed
	}
}
