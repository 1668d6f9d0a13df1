// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"reflect"
	"testing"

	"github.com/cachewright/cachewright/internal/pages"
)

const page = "Before\n\n```sh\nls\ncat `a`\n```\n\nBetween ```not a fence``` and\n\n```\nout\n```\n\n```yaml\na: 1\n```\nAfter\n"

func TestBlocksAreTakenFromAPageInTheirOrder(t *testing.T) {
	want := []pages.Block{{"sh", "ls\ncat `a`\n"}, {"", "out\n"}, {"yaml", "a: 1\n"}}
	if got := pages.Blocks(page); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if got := pages.BlocksIn("yaml", page); !reflect.DeepEqual(got, []string{"a: 1\n"}) {
		t.Errorf("%q", got)
	}
	if got := pages.Prose(page); got != "Before\n\n\n\nBetween ```not a fence``` and\n\n\n\n\nAfter\n" {
		t.Errorf("%q", got)
	}
}
