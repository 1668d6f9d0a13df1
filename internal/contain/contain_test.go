// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package contain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/contain"
)

var errMeaning = errors.New("it misbehaves")

func contained(do func()) (err error) {
	defer contain.Panic(&err, errMeaning)
	do()
	return nil
}

func TestAPanicBecomesAnError(t *testing.T) {
	words, beyond := []string{"one"}, 1
	for name, test := range map[string]struct {
		do   func()
		want string
	}{
		"of the runtime": {func() { _ = words[beyond] }, "it misbehaves: handling it failed: runtime error: index out of range [1] with length 1"},
		"of a peer":      {func() { panic("token=secret") }, "it misbehaves: handling it failed: a panic with a value of type string"},
		"with an error":  {func() { panic(errMeaning) }, "it misbehaves: handling it failed: a panic with a value of type *errors.errorString"},
	} {
		err := contained(test.do)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: %v; want %s", name, err, test.want)
			continue
		}
		var panicked *contain.Error
		if !errors.Is(err, errMeaning) || !errors.As(err, &panicked) {
			t.Errorf("%s: %v wraps neither", name, err)
		} else if !strings.Contains(panicked.Stack, "contain_test.go") {
			t.Errorf("%s: the stack does not lead to it:\n%s", name, panicked.Stack)
		}
	}
}

func TestAnErrorStaysWithoutAPanic(t *testing.T) {
	if err := contained(func() {}); err != nil {
		t.Error(err)
	}
}
