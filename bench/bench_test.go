// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// tinyScale proves that everything runs. Its figures mean nothing. Its large purge is large enough
// to need cw_reclaim.
func tinyScale() scale {
	return scale{
		quick: true, payload: text(64), smallPayload: text(16),
		keys: 20, rounds: 1, lap: 4 * time.Millisecond,
		samples: 1, purges: []int{10, 2000}, largeKeys: 2000, expiringTTL: 2 * time.Second,
		nearProcesses: []int{1, 3}, nearRest: 100 * time.Millisecond,
		headlineEvents: 1000, headlinePace: 100 * time.Microsecond,
	}
}

// promises lists the rows and figures that readers of results.json rely on.
var promises = map[string][]string{
	"plain-get":         {"opsPerSec", "p50Micros", "ratioToPlainGet"},
	"hit":               {"opsPerSec", "p50Micros", "ratioToPlainGet"},
	"hit-autopipelined": {"opsPerSec", "p50Micros", "ratioToPlainGet"},
	"hit-near":          {"opsPerSec", "p50Micros", "ratioToPlainGet"},
	"plain-set":         {"opsPerSec", "p50Micros", "ratioToPlainSet"},
	"fill":              {"opsPerSec", "p50Micros", "ratioToPlainSet", "ratioToGocacheSet"},
	"miss":              {"opsPerSec", "p50Micros", "ratioToPlainGetAndSet"},
	"purge-10":          {"p50Micros"},
	"purge-stall":       {"longestMicros"},
	"reclaim":           {"opsPerSec", "ratioToUnlink"},
	"index-bytes":       {"bytesPerEntry"},

	"go-redis-cache-hit":  {"opsPerSec", "ratioToPlainGet"},
	"rueidisaside-hit":    {"opsPerSec", "ratioToPlainGet"},
	"gocache-set":         {"opsPerSec", "ratioToPlainSet"},
	"laravel-set":         {"opsPerSec", "ratioToPlainSet"},
	"gocache-purge-10":    {"p50Micros"},
	"laravel-purge-10":    {"p50Micros"},
	"lua-purge-10":        {"p50Micros"},
	"gocache-purge-stall": {"longestMicros"},
	"laravel-purge-stall": {"longestMicros"},
	"lua-purge-stall":     {"longestMicros"},
}

// newPromises are those that the published results will have with the next full run.
var newPromises = map[string][]string{
	"fetch-miss":               {"opsPerSec", "p50Micros", "ratioToPlainGetAndSet", "redisToPlainGetAndSet"},
	"fetch-miss-autopipelined": {"opsPerSec", "p50Micros", "ratioToPlainGetAndSet", "redisToPlainGetAndSet"},
	"fetch-miss-link":          {"opsPerSec", "p50Micros", "ratioToPlainGetAndSet", "redisToPlainGetAndSet"},
	"plain-get-and-set-link":   {"opsPerSec", "p50Micros"},

	"fetch-many-100": {"opsPerSec", "p50Micros", "ratioToHitFetch"},

	"hit-near-churn":              {"opsPerSec", "p50Micros", "ratioToHitNear"},
	"rueidisaside-hit-near-churn": {"opsPerSec", "p50Micros", "ratioToHitNear"},
	"near-fanout-1":               {"redisMicros", "restPercent"},

	"headline": {"hitPercent", "clearingHitPercent", "profileKeys", "growth", "clearingGrowth"},

	"hold":             {"p50Micros", "p50ToPlainSet"},
	"release":          {"p50Micros", "p50ToPlainSet"},
	"empty-call":       {"p50Micros", "p50ToPlainSet"},
	"hold-commands":    {"p50Micros", "p50ToPlainSet"},
	"release-commands": {"p50Micros", "p50ToPlainSet"},
}

// largePurges lists the rows that only a full run has.
var largePurges = []string{"purge-1000", "purge-100000", "purge-1000000", "gocache-purge-100000", "laravel-purge-100000", "lua-purge-100000"}

func TestEveryPartRunsAndKeepsItsPromises(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.json")
	if err := run(t.Context(), tinyScale(), out); err != nil {
		t.Fatal(err)
	}
	rows := readRows(t, out)
	requireRows(t, rows, promises)
	requireRows(t, rows, newPromises)
	requireRows(t, rows, map[string][]string{"purge-2000": {"p50Micros"}, "purge-2000-expiring": {"p50Micros"}})
	requireHeadline(t, rows["headline"])
}

func TestPublishedResultsKeepTheirPromises(t *testing.T) {
	rows := readRows(t, "results.json")
	requireRows(t, rows, promises)
	for _, name := range largePurges {
		requireRows(t, rows, map[string][]string{name: {"p50Micros"}})
	}
	if rows["quick"] != nil {
		t.Error("the results are those of a quick run")
	}
}

// The published results meet the goals of docs/benchmarks.md, or the page says that they miss them.
func TestPublishedResultsMeetTheirGoals(t *testing.T) {
	rows, page := readRows(t, "results.json"), readPage(t)
	for _, goal := range []struct {
		row, figure     string
		atLeast, atMost float64
	}{
		{"hit", "ratioToPlainGet", 0.85, math.Inf(1)},
		{"hit-autopipelined", "ratioToPlainGet", 1.5, math.Inf(1)},
		{"hit-near", "ratioToPlainGet", 20, math.Inf(1)},
		{"hit-near-churn", "ratioToHitNear", 0.8, math.Inf(1)},
		{"near-fanout-1000", "redisMicros", 0, 5000},
		{"fetch-many-100", "ratioToHitFetch", 8, math.Inf(1)},
		{"fetch-miss", "ratioToPlainGetAndSet", 0.85 * 0.70, math.Inf(1)},
		{"fetch-miss", "redisToPlainGetAndSet", 0, 1.67 / 0.85},
		{"fetch-miss-autopipelined", "ratioToPlainGetAndSet", 0.85 * 1.3, math.Inf(1)},
		{"fetch-miss-link", "ratioToPlainGetAndSet", 0.85 * 0.95, math.Inf(1)},
		{"headline", "hitPercent", 67, math.Inf(1)},
		{"headline", "clearingHitPercent", 22.5, 23.5},
		{"headline", "profileKeys", 3, 3},
		{"headline", "clearingProfileKeys", headlineKeys, headlineKeys},
		{"headline", "keysLeft", 0, 0},
		{"fill", "ratioToPlainSet", 0.5, math.Inf(1)},
		{"fill", "ratioToGocacheSet", 3, math.Inf(1)},
		{"reclaim", "ratioToUnlink", 0.4, math.Inf(1)},
		{"purge-stall", "longestMicros", 0, 2000},
		{"index-bytes", "bytesPerEntry", 0, 64},
		{"hold", "p50ToPlainSet", 0, 2},
		{"release", "p50ToPlainSet", 0, 1.5},
	} {
		if promises[goal.row] == nil && rows[goal.row] == nil {
			t.Logf("%s is not measured yet", goal.row)
			continue
		}
		figure, ok := rows[goal.row][goal.figure].(float64)
		met := ok && figure >= goal.atLeast && figure <= goal.atMost
		if missed := regexp.MustCompile("(?m)^\\| `" + goal.row + "` to .* missed").MatchString(page); met == missed {
			t.Errorf("%s: %s is %v, want %v to %v; the page says that it is missed: %t", goal.row, goal.figure, rows[goal.row][goal.figure], goal.atLeast, goal.atMost, missed)
		}
	}
	var purges []float64
	for _, name := range []string{"purge-10", "purge-1000", "purge-100000", "purge-1000000"} {
		micros, _ := rows[name]["p50Micros"].(float64)
		purges = append(purges, micros)
	}
	if fastest, slowest := slices.Min(purges), slices.Max(purges); fastest <= 0 || slowest > 2*fastest || slowest >= 1000 {
		t.Errorf("purges of ten to a million keys take %v µs; want none above a millisecond, nor more than twice another", purges)
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type row map[string]any

// readRows returns the rows by name, and fails where two have the same. A row "quick" stands for a
// quick run.
func readRows(t *testing.T, path string) map[string]row {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Machine map[string]any
		Method  string
		Quick   bool
		Results []row
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"cpu", "cores", "go", "redis", "libraries", "date"} {
		if document.Machine[key] == nil || document.Machine[key] == "" {
			t.Errorf("machine has no %s", key)
		}
	}
	if document.Method == "" {
		t.Error("the file does not say how it was measured")
	}
	rows := map[string]row{}
	for _, r := range document.Results {
		name, _ := r["name"].(string)
		if rows[name] != nil {
			t.Errorf("there are two rows %q", name)
		}
		rows[name] = r
	}
	if document.Quick {
		rows["quick"] = row{}
	}
	return rows
}

func requireRows(t *testing.T, rows map[string]row, wanted map[string][]string) {
	t.Helper()
	for name, keys := range wanted {
		for _, key := range keys {
			if figure, ok := rows[name][key].(float64); !ok || figure <= 0 {
				t.Errorf("row %q: %s is %v", name, key, rows[name][key])
			}
		}
	}
}

func TestRatioIsThatOfTheMedianRound(t *testing.T) {
	// The machine halted in the second round, while only one of the two was running.
	of := &figures{opsPerSec: []float64{50, 5, 60}}
	to := &figures{opsPerSec: []float64{100, 100, 100}}
	if got := ratio(of, to); got != 0.5 {
		t.Errorf("ratio = %v, want 0.5", got)
	}
}

func TestNoTwoCallsOfASubjectShareANumber(t *testing.T) {
	seen := make(chan int, 1_000_000)
	s := &subject{name: "counting", do: func(_ context.Context, n int) error {
		select {
		case seen <- n:
			return nil
		default:
			return errors.New("more calls than the test has room for")
		}
	}}
	for _, goroutines := range []int{1, maxGoroutines, 1} {
		if _, err := compare(t.Context(), &lab{}, []*subject{s}, goroutines, 1, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	close(seen)
	var numbers []int
	for n := range seen {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	if unique := slices.Compact(slices.Clone(numbers)); len(unique) != len(numbers) || len(numbers) == 0 {
		t.Errorf("%d calls had %d numbers", len(numbers), len(unique))
	}
}
