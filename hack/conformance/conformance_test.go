// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/goclient"
	"github.com/cachewright/cachewright/internal/redistest"
)

// driverEnv makes this program the driver of a client: go, or plain, or plain with a bug.
const driverEnv = "CONFORMANCE_TEST_DRIVER"

func TestMain(m *testing.M) {
	client, isDriver := os.LookupEnv(driverEnv)
	if !isDriver {
		flag.Parse()
		if err := flag.Set("test.parallel", "8"); err != nil { // they wait for processes, most of the time
			panic(err)
		}
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
	args := []string{"-vectors", "../../docs/protocol-vectors.json", "-acl", "../../docs/operations.md"}
	args = append(args, flags...)
	status := run(t.Context(), slices.Concat(args, command), &output, &log)
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

func TestTheGoClientConforms(t *testing.T) {
	eachRedis(t, func(t *testing.T, flags ...string) {
		result := try(t, "go", flags...)
		result.wantPass(t)
		if left := result.leftOut(); !slices.Equal(left, []string{"tokens", "read"}) {
			t.Errorf("cases of %q were left out", left)
		}
	})
}

func TestAClientThatIsWrittenFromThePageConforms(t *testing.T) {
	t.Parallel()
	result := try(t, "plain:")
	result.wantPass(t)
	if left := result.leftOut(); !slices.Equal(left, []string{"near"}) {
		t.Errorf("cases of %q were left out", left)
	}
}

// Clients log in with the rights that the page gives to an application, and no others.
func TestClientsHaveTheRightsOfATenant(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	fewer := filepath.Join(t.TempDir(), "fewer.md")
	if err := os.WriteFile(fewer, []byte(strings.ReplaceAll(string(text), " +mget", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"single", "cluster"} {
		result := try(t, "plain:", "-redis", kind, "-run", "^read: a miss", "-acl", fewer)
		if result.status != failed {
			t.Errorf("%s: status %d without the right to MGET\n%s%s", kind, result.status, result.output, result.log)
		}
	}
}

// A Redis that is there keeps what others wrote, and nothing of the runner's.
func TestARedisThatIsThereIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	client.Set(t.Context(), "cw:{shop/users}:m", "somebody's", 0)
	result := try(t, "plain:", "-addr", server.Addr(), "-run", "^(refusals: 1,|read|count|failure|restart)")
	result.wantPass(t)
	if left := result.leftOut(); !slices.Equal(left, []string{"failure", "restart"}) {
		t.Errorf("cases of %q were left out", left)
	}
	if keys, err := client.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 1 {
		t.Errorf("Redis has %q (%v), and had one key before", keys, err)
	}
}

func TestWhatCannotBeTriedIsRefused(t *testing.T) {
	t.Parallel()
	const vectors = "../../docs/protocol-vectors.json"
	for _, c := range []struct {
		says string
		args []string
	}{
		{"say which command runs the driver", nil},
		{"-redis is single or cluster", []string{"-redis", "both", "true"}},
		{"-resp is 2 or 3", []string{"-resp", "4", "true"}},
		{"-run: ", []string{"-run", "(", "true"}},
		{"flag provided but not defined", []string{"-unheard-of", "true"}},
		{"reading the vectors", []string{"-vectors", "none.json", "true"}},
		{"reading the rights of a tenant", []string{"-vectors", vectors, "-acl", "none.md", "true"}},
		{"has no line that begins with", []string{"-vectors", vectors, "-acl", "conformance_test.go", "true"}},
		{"starting the driver", []string{"-vectors", vectors, "-acl", "../../docs/operations.md", "./no-such-driver"}},
		{"does -run match any", []string{"-vectors", vectors, "-acl", "../../docs/operations.md", "-run", "^none$", "true"}},
	} {
		var output, log strings.Builder
		if status := run(t.Context(), c.args, &output, &log); status != notTried || !strings.Contains(log.String(), c.says) {
			t.Errorf("%q: status %d, %s%s; want %q", c.args, status, output.String(), log.String(), c.says)
		}
	}
}

func TestTheListSaysWhatIsRequired(t *testing.T) {
	var output strings.Builder
	args := []string{"-vectors", "../../docs/protocol-vectors.json", "-list", "-run", "^(put|fence)"}
	if status := run(t.Context(), args, &output, &output); status != passed {
		t.Fatal(output.String())
	}
	for _, line := range []string{
		"required  fence: a load under way when another client deletes the entry\n",
		"optional  put: a write fences loads of the entry\n",
	} {
		if !strings.Contains(output.String(), line) || strings.Contains(output.String(), "read:") {
			t.Errorf("the list lacks %q, or has too much:\n%s", line, output.String())
		}
	}
}
