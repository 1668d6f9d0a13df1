// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/cachewright/cachewright/bench/internal/turns"
)

func TestEachServedPartMeasuresEachOfItsRows(t *testing.T) {
	for part := range servedParts {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			requests, ask := io.Pipe()
			replies, answer := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				err := serve(t.Context(), tinyScale(), part, requests, answer)
				_ = answer.CloseWithError(err)
				ended <- err
			}()
			decoder := json.NewDecoder(replies)
			var rows []turns.Row
			if err := decoder.Decode(&rows); err != nil {
				t.Fatal(err)
			}
			if len(rows) == 0 {
				t.Error("the part has no rows")
			}
			for _, row := range rows {
				var figure turns.Figure
				_, _ = fmt.Fprintln(ask, row.Name)
				if err := decoder.Decode(&figure); err != nil {
					t.Fatalf("%s: %v", row.Name, err)
				}
				if figure.Value <= 0 {
					t.Errorf("%s: the figure is %v", row.Name, figure.Value)
				}
			}
			_ = ask.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOnlyKnownPartsAndRowsAreServed(t *testing.T) {
	if err := serve(t.Context(), tinyScale(), "nothing", nil, io.Discard); err == nil {
		t.Error("a part that does not exist was served")
	}
}
