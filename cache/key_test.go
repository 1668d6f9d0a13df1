// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache"
)

type unnamed struct{ secret string }

// Package params tests which params have an ID. This tests the errors that an application gets for
// the rest.
func TestIDNamesTheTypeOfParamsThatCannotNameAnEntry(t *testing.T) {
	for want, params := range map[string]any{
		"chan int":                        make(chan int),
		"cache_test.unnamed: JSON leaves": unnamed{secret: "4111"},
		"json.RawMessage":                 json.RawMessage(`"\ud800"`),
	} {
		id, err := cache.ID(params)
		if id != "" || !errors.Is(err, cache.ErrParams) {
			t.Errorf("%T: got %q, %v, want ErrParams", params, id, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), cache.ErrParams.Error()+": "+want) || strings.Contains(err.Error(), "4111") {
			t.Errorf("the message is %q, want it to name %s", err, want)
		}
	}
	var cause *json.UnsupportedTypeError
	if _, err := cache.ID(func() {}); !errors.As(err, &cause) {
		t.Errorf("%v does not wrap its cause", err)
	}
}
