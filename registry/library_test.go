// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/info"
)

// A changed library needs a higher version, else a Redis that has the old one keeps it.
func TestLibraryVersionGrowsWithItsSource(t *testing.T) {
	sum := sha256.Sum256([]byte(Library))
	got := fmt.Sprintf("version %d has sha256 %s\n", LibraryVersion, hex.EncodeToString(sum[:]))
	want, err := os.ReadFile("testdata/library.sum")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("testdata/library.sum says %sthe library is\n%sIf a release had the former, raise VERSION in cachewright.lua. Then write the latter into the file.", want, got)
	}
}

func TestLibraryIsTheConcatenationOfItsParts(t *testing.T) {
	parts, err := filepath.Glob("lua/*.lua") // sorted by name
	if err != nil || len(parts) == 0 {
		t.Fatalf("found no parts (%v)", err)
	}
	var want strings.Builder
	for line := range strings.Lines(Library) {
		want.WriteString(line)
		if strings.HasPrefix(line, "-- Code generated") {
			break
		}
	}
	for _, part := range parts {
		text, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		want.Write(text)
	}
	if Library != want.String() {
		t.Error("cachewright.lua differs from the parts in lua: run make library")
	}
}

func TestInstallLoadsWhatIsMissingOrOlder(t *testing.T) {
	client := redistest.Start(t).Client()
	r := New(client)
	installs := func(want int) {
		t.Helper()
		if loaded, err := r.Install(t.Context()); err != nil || loaded != want {
			t.Errorf("loaded %d (%v), want %d", loaded, err, want)
		}
	}
	load := func(version int) {
		t.Helper()
		source := strings.Replace(Library, fmt.Sprintf("local VERSION = %d\n", LibraryVersion), fmt.Sprintf("local VERSION = %d\n", version), 1)
		if err := client.FunctionLoadReplace(t.Context(), source).Err(); err != nil {
			t.Fatal(err)
		}
	}
	installs(1)
	installs(0)
	load(LibraryVersion - 1)
	installs(1)
	load(LibraryVersion + 1)
	installs(0)
	if health, err := r.Check(t.Context()); err != nil || health.LibraryVersion != LibraryVersion+1 {
		t.Errorf("got %+v (%v), want the newer library left in place", health, err)
	}
}

func TestInstallReachesEveryPrimary(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	r := New(cluster.Client())
	if loaded, err := r.Install(t.Context()); err != nil || loaded != 3 {
		t.Fatalf("loaded %d (%v), want 3", loaded, err)
	}
	health, err := r.Check(t.Context())
	if err != nil || len(health.RunIDs) != 3 || health.LibraryVersion != LibraryVersion {
		t.Errorf("got %+v (%v)", health, err)
	}
	if err := cluster.Servers()[1].Client().FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if health, err := r.Check(t.Context()); err != nil || health.LibraryVersion != 0 {
		t.Errorf("a primary lost its library: got %+v (%v)", health, err)
	}
	if loaded, err := r.Install(t.Context()); err != nil || loaded != 1 {
		t.Errorf("loaded %d (%v), want 1", loaded, err)
	}
}

// A client that finds the library missing loads it.
func TestACallLoadsAMissingLibrary(t *testing.T) {
	server := redistest.Start(t)
	r := New(server.Client())
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""))
	if err := server.Client().FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if !isHit(t, r, entry("list", "a", "")) {
		t.Error("entries went with the library")
	}
}

func TestCheckNamesVersionAndRunID(t *testing.T) {
	server := redistest.Start(t)
	r := New(server.Client())
	before, err := r.Check(t.Context())
	if err != nil || before.LibraryVersion != 0 || len(before.RunIDs) != 1 || info.Major(before.Version) < 7 {
		t.Fatalf("got %+v (%v)", before, err)
	}
	server.Restart()
	after, err := r.Check(t.Context())
	if err != nil || after.RunIDs[0] == before.RunIDs[0] {
		t.Errorf("a restart was not seen: %+v, %+v (%v)", before, after, err)
	}
}

func TestInstallFailsWhereTheLibraryIsTakenAndNotKept(t *testing.T) {
	for name, answer := range map[string]string{
		"no function": "-ERR Function not found\r\n",
		"an old one":  fmt.Sprintf(":%d\r\n", LibraryVersion-1),
	} {
		t.Run(name, func(t *testing.T) {
			loads := 0
			addr := answering(t, func(command []string) string {
				if command[0] == "function" {
					loads++
					return bulk("cachewright")
				}
				return to("fcall_ro cw_version", answer)(command)
			})
			_, err := operatorOf(t, Connection{Addresses: []string{addr}}).Install(t.Context())
			if !errors.Is(err, ErrMisbehaves) || !ConcernsStore(err) || loads != 1 {
				t.Errorf("%v after %d loads", err, loads)
			}
		})
	}
}
