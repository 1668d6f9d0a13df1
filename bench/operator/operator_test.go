// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// TestMain lets the test binary be the reference controller, too, as the program itself does.
func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	if len(os.Args) == 3 && os.Args[1] == "-reference" {
		if err := runReference(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// tinyScale proves that everything runs. Its figures mean nothing.
func tinyScale() scale {
	return scale{
		quick: true, latencies: 3, bursts: 1, burst: 20, policies: 20, namespaces: 4, stores: 2, propagations: 3, idle: time.Second,
		neighbourly: 3, hostiles: 4,
		stats: time.Second,
	}
}

// promises lists the rows and figures that readers of results.json rely on. policies is the number
// in the rows' names.
func promises(policies int) map[string][]string {
	return map[string][]string{
		"invalidation-latency":                 {"ratioToReference", "p50Millis", "p99Millis"},
		"invalidation-throughput":              {"ratioToReference", "opsPerSec"},
		"policy-propagation":                   {"p50Millis", "p99Millis"},
		fmt.Sprintf("cold-start-%d", policies): {"seconds", "count"},
		fmt.Sprintf("rss-%d", policies):        {"mebibytes", "peakMebibytes"},
		"idle-writes":                          {"count"},
		"idle-redis-calls":                     {"opsPerSec"},
		"isolation":                            {"ratioToAlone", "p50Millis", "p99Millis", "count"},
		"reference-latency":                    {"p50Millis", "p99Millis"},
		"reference-throughput":                 {"opsPerSec"},
		fmt.Sprintf("rollout-%d", policies):    {"seconds", "createSeconds"},
	}
}

func TestEveryPartRunsAndKeepsItsPromises(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.json")
	s := tinyScale()
	if err := run(t.Context(), s, out); err != nil {
		t.Fatal(err)
	}
	rows, described := readRows(t, out)
	if !described {
		t.Error("the file does not say how it was measured")
	}
	requireRows(t, rows, promises(s.policies))
	for _, name := range []string{"idle-writes", fmt.Sprintf("cold-start-%d", s.policies)} {
		if writes := rows[name]["count"]; writes != 0.0 {
			t.Errorf("%s: %v writes to the API server, where there was nothing to do", name, writes)
		}
	}
}

func TestPublishedResultsKeepTheirPromises(t *testing.T) {
	rows, described := readRows(t, filepath.Join("..", "results.json"))
	if !described {
		t.Error("the file does not say how it was measured")
	}
	requireRows(t, rows, promises(fullScale().policies))
}

// The published results meet the goals of docs/benchmarks.md.
func TestPublishedResultsMeetTheirGoals(t *testing.T) {
	rows, _ := readRows(t, filepath.Join("..", "results.json"))
	policies := fullScale().policies
	for _, goal := range []struct {
		row, figure     string
		atLeast, atMost float64
	}{
		{"invalidation-latency", "ratioToReference", 0, 2},
		{"invalidation-throughput", "ratioToReference", 0.7, math.Inf(1)},
		{fmt.Sprintf("cold-start-%d", policies), "count", 0, 0},
		{"idle-writes", "count", 0, 0},
		{fmt.Sprintf("rss-%d", policies), "mebibytes", 0, 200},
		{fmt.Sprintf("rss-%d", policies), "peakMebibytes", 0, 200},
		{"isolation", "ratioToAlone", 0, 3},
	} {
		figure, ok := rows[goal.row][goal.figure].(float64)
		if !ok || figure < goal.atLeast || figure > goal.atMost {
			t.Errorf("%s: %s is %v, want %v to %v", goal.row, goal.figure, rows[goal.row][goal.figure], goal.atLeast, goal.atMost)
		}
	}
}

// readRows returns the operator's rows by name, and whether the file says how they were measured.
func readRows(t *testing.T, path string) (rows map[string]map[string]any, described bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Operator struct{ Method string }
		Results  []map[string]any
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	rows = map[string]map[string]any{}
	for _, row := range document.Results {
		if row["part"] == part {
			rows[row["name"].(string)] = row
		}
	}
	return rows, document.Operator.Method != ""
}

func requireRows(t *testing.T, rows map[string]map[string]any, wanted map[string][]string) {
	t.Helper()
	for name, keys := range wanted {
		for _, key := range keys {
			if figure, ok := rows[name][key].(float64); !ok || figure <= 0 && key != "count" {
				t.Errorf("row %q: %s is %v", name, key, rows[name][key])
			}
		}
	}
}

func TestWritesAreThoseOfTheOperator(t *testing.T) {
	const rest = `,resource="secrets",scope="namespace",subresource="status",version="v1"} 7`
	tests := []struct {
		line string
		want int
	}{
		{`apiserver_request_total{code="200",component="apiserver",dry_run="",group="cachewright.io",verb="PATCH"` + rest, 7},
		{`apiserver_request_total{code="201",component="apiserver",dry_run="",group="events.k8s.io",verb="POST"` + rest, 7},
		{`apiserver_request_total{code="200",component="apiserver",dry_run="",group="cachewright.io",verb="LIST"` + rest, 0},
		{`apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",verb="PUT"` + rest, 0},
		{`apiserver_request_total{code="201",component="apiserver",dry_run="",group="",verb="POST"` + rest, 7},
		{`apiserver_request_total{code="200",component="apiserver",dry_run="",group="apps",verb="DELETE"` + rest, 7},
		{`apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="events",scope="resource",verb="POST"} 7`, 0},
		{`apiserver_request_duration_seconds_count{group="cachewright.io",verb="PATCH"} 3`, 0},
		{`# HELP apiserver_request_total Counter`, 0},
	}
	for _, test := range tests {
		if got, _ := writeCount(test.line); got != test.want {
			t.Errorf("%s: %d, want %d", test.line, got, test.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	slices.Reverse(hundred)
	if p := percentile(hundred, 99); p != 100 {
		t.Errorf("p99 is %v", p)
	}
	if p := median([]float64{3, 1, 2}); p != 2 {
		t.Errorf("median is %v", p)
	}
}

func TestPoliciesInPlaceAreThoseOfAllStores(t *testing.T) {
	const log = `{"level":"info","msg":"Every policy is in place","store":{"name":""},"at":"a:1","policies":3}
{"level":"info","msg":"Every policy is in place","store":{"name":"main"},"at":"b:1","policies":0}
not of ours
{"level":"info","msg":"Installed the function library","at":"c:1","policies":7}
{"level":"info","msg":"Every policy is in place","store":{"name":"main"},"at":"b:1","policies":2}
`
	if got := policiesInPlace(log); got != 5 {
		t.Errorf("%d", got)
	}
}
