// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redact_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache/internal/redact"
)

func TestCausesAreFoundButNotQuoted(t *testing.T) {
	kind := errors.New("kind")
	cause := &fs.PathError{Op: "open", Path: "/home/ada", Err: errors.New("secret")}
	err := redact.New("cannot open", kind, nil, cause)
	if err.Error() != "cannot open" {
		t.Errorf("the message is %q", err)
	}
	var found *fs.PathError
	if !errors.Is(err, kind) || !errors.As(err, &found) || found != cause {
		t.Errorf("the causes of %v are out of reach", err)
	}
}

func TestAPanicIsDescribedWithoutItsValue(t *testing.T) {
	err := redact.Panic("the loader panicked", "no user ada@example.com")
	for _, want := range []string{"the loader panicked", "string", "TestAPanicIsDescribedWithoutItsValue"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not contain %q", err, want)
		}
	}
	if !errors.Is(err, redact.ErrPanic) || strings.Contains(err.Error(), "ada@example.com") {
		t.Errorf("got %q", err)
	}
}
