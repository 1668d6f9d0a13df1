// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestOnlyRefusedConnectionsAreTriedAgain(t *testing.T) {
	refused := fmt.Errorf("get policies: %w", syscall.ECONNREFUSED)
	other := errors.New("the token is too old")
	for name, test := range map[string]struct {
		answers []error
		asked   int
		want    error
	}{
		"an answer":                 {[]error{nil}, 1, nil},
		"refused, then an answer":   {[]error{refused, nil}, 2, nil},
		"refused, then other error": {[]error{refused, other}, 2, other},
		"other error":               {[]error{other}, 1, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			_, err := redial(t.Context(), func() (struct{}, error) {
				asked++
				return struct{}{}, test.answers[asked-1]
			})
			if !errors.Is(err, test.want) || asked != test.asked {
				t.Errorf("asked %d times: %v; want %d times: %v", asked, err, test.asked, test.want)
			}
		})
	}
}

func TestRefusedConnectionsAreNotTriedAgainOnceTheOperatorEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := redial(ctx, func() (struct{}, error) {
		cancel()
		return struct{}{}, syscall.ECONNREFUSED
	})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}
