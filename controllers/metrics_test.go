// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// docs/operations.md tells of every metric.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := metricNames()
	for _, name := range names {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/operations.md does not tell of %s", name)
		}
	}
	if len(names) < 10 {
		t.Errorf("only %d metrics were looked for", len(names))
	}
}

// The dashboard shows every metric, and asks for none that is not there.
func TestTheDashboardShowsTheMetricsThatAreThere(t *testing.T) {
	dashboard, err := os.ReadFile("../docs/dashboards/cachewright.json")
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Query string } }
	}
	if err := json.Unmarshal(dashboard, &content); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	metric := regexp.MustCompile(`\bcachewright_\w+`)
	ask := func(where, query string) {
		for _, name := range metric.FindAllString(query, -1) {
			asked[name] = true
			if !slices.Contains(metricNames(), name) {
				t.Errorf("%s asks for %s, which the operator does not export", where, name)
			}
		}
	}
	for _, panel := range content.Panels {
		for _, target := range panel.Targets {
			ask(panel.Title, target.Expr)
		}
	}
	for _, variable := range content.Templating.List {
		ask("a variable", variable.Query)
	}
	for _, name := range metricNames() {
		if !asked[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func metricNames() []string {
	descriptions := make(chan *prometheus.Desc, 100)
	NewMetrics().Describe(descriptions)
	close(descriptions)
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	var names []string
	for description := range descriptions {
		names = append(names, name.FindStringSubmatch(description.String())[1])
	}
	return names
}
