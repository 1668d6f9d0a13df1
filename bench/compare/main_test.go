// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/bench/internal/turns"
)

func TestTheReportNamesRowsThatAreWorse(t *testing.T) {
	var out strings.Builder
	err := report(&out, []turns.Comparison{
		{Row: turns.Row{Name: "hit"}, ToReference: 0.99, Noise: 1},
		{Row: turns.Row{Name: "fill"}, ToReference: 0.9, Noise: 1},
	})
	if !errors.Is(err, errWorse) || !strings.Contains(err.Error(), "fill") || strings.Contains(err.Error(), "hit") {
		t.Errorf("the result is %v, wanted fill alone", err)
	}
	for _, row := range []string{"hit", "fill"} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the table lacks %s:\n%s", row, out.String())
		}
	}
}

func TestTheReportIsQuietWhereNothingIsWorse(t *testing.T) {
	var out strings.Builder
	if err := report(&out, []turns.Comparison{{Row: turns.Row{Name: "hit"}, ToReference: 0.96, Noise: 1.02}}); err != nil {
		t.Error(err)
	}
}
