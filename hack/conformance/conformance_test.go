// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/goclient"
)

// driverEnv makes this program the driver of a client: go, or plain, or plain with a bug.
const driverEnv = "CONFORMANCE_TEST_DRIVER"

func TestMain(m *testing.M) {
	client, isDriver := os.LookupEnv(driverEnv)
	if !isDriver {
		os.Exit(m.Run())
	}
	bug, isPlain := strings.CutPrefix(client, "plain:")
	if !isPlain {
		if err := goclient.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, driver.MaxLine)
	fmt.Fprintln(os.Stderr, "this is plain")
	(&talk{lines: lines, answers: os.Stdout, bug: bug}).serve("")
}

// tried is what the runner said about a driver.
type tried struct {
	status      int
	output, log string
}

// try runs the runner on a client of this program.
func try(t *testing.T, client string, flags ...string) tried {
	t.Helper()
	command := []string{"env", driverEnv + "=" + client, os.Args[0]}
	return tryCommand(t, command, flags...)
}

func tryCommand(t *testing.T, command []string, flags ...string) tried {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a redis-server, which -short leaves out")
	}
	var output, log strings.Builder
	args := append([]string{"-vectors", "../../docs/protocol-vectors.json"}, flags...)
	status := run(t.Context(), append(args, command...), &output, &log)
	return tried{status: status, output: output.String(), log: log.String()}
}

func (r tried) wantPass(t *testing.T) {
	t.Helper()
	if r.status != passed {
		t.Errorf("status %d\n%s%s", r.status, r.output, r.log)
	}
}

// leftOut returns the parts with cases that were left out.
func (r tried) leftOut() (parts []string) {
	for line := range strings.Lines(r.output) {
		if strings.Contains(line, " left out (") {
			parts = append(parts, strings.Fields(line)[0])
		}
	}
	return parts
}

// eachRedis tries a client on each kind of Redis, by each version of its protocol.
func eachRedis(t *testing.T, try func(t *testing.T, flags ...string)) {
	for _, kind := range []string{"single", "cluster"} {
		for _, resp := range []string{"2", "3"} {
			t.Run(kind+", RESP"+resp, func(t *testing.T) {
				t.Parallel()
				try(t, "-redis", kind, "-resp", resp)
			})
		}
	}
}

// landed matches the parts that the library has the calls for.
const landed = "^([^pt]|tokens)"

func TestTheGoClientConforms(t *testing.T) {
	eachRedis(t, func(t *testing.T, flags ...string) {
		result := try(t, "go", append(flags, "-run", landed)...)
		result.wantPass(t)
		if left := result.leftOut(); !slices.Equal(left, []string{"tokens", "read"}) {
			t.Errorf("cases of %q were left out", left)
		}
	})
}

func TestAClientThatIsWrittenFromThePageConforms(t *testing.T) {
	result := try(t, "plain:", "-run", landed)
	result.wantPass(t)
	if left := result.leftOut(); !slices.Equal(left, []string{"near"}) {
		t.Errorf("cases of %q were left out", left)
	}
}
