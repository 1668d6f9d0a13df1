// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestA","Elapsed":1}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"pass","Package":"a","Elapsed":1.26}
{"Action":"output","Package":"b","Test":"TestPasses","Output":"noise\n"}
{"Action":"pass","Package":"b","Test":"TestPasses"}
{"Action":"output","Package":"b","Test":"TestFails","Output":"wrong\n"}
{"Action":"output","Package":"b","Test":"TestFails","Output":"    b_test.go:7: got 1, want 2\n"}
{"Action":"fail","Package":"b","Test":"TestFails"}
{"Action":"output","Package":"b","Output":"panic: on the way\n"}
{"Action":"fail","Package":"b","Elapsed":2}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1: undefined\n"}
{"Action":"fail","Package":"c"}
{"Action":"skip","Package":"d"}
no event`

func printedOf(t *testing.T, verbose bool) string {
	t.Helper()
	var to strings.Builder
	l := &log{to: &to, verbose: verbose, kept: map[string][]printed{}}
	if err := l.copy(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return to.String()
}

func TestOneLineAPackageAndTheOutputOfFailures(t *testing.T) {
	const want = `ok      1.3 s  a
wrong
    b_test.go:7: got 1, want 2
panic: on the way
FAIL    2.0 s  b
c.go:1: undefined
FAIL    0.0 s  c
none    0.0 s  d
no eventWhat failed, in short:
TestFails: b_test.go:7: got 1, want 2
`
	if got := printedOf(t, false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestVerboseShowsAllOutput(t *testing.T) {
	if got := printedOf(t, true); strings.Count(got, "noise\n") != 2 || strings.Count(got, "wrong\n") != 1 {
		t.Errorf("got\n%s", got)
	}
}
