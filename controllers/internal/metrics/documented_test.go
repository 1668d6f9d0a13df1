// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/cachewright/cachewright/controllers/internal/stats"
)

// docs/operations.md tells of every metric, and of its labels.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented, before := map[string]string{}, ""
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`cachewright_") {
			continue
		}
		if labels := strings.TrimSpace(cells[2]); labels != "the same" {
			before = labels
		}
		for _, name := range metricPattern.FindAllString(cells[1], -1) {
			documented[name] = before
		}
	}
	labels := metricLabels()
	for name, labels := range labels {
		if want := strings.Join(labels, ", "); documented[name] != want {
			t.Errorf("docs/operations.md lists %s with labels %q; it has %q", name, documented[name], want)
		}
	}
	if len(labels) < 10 {
		t.Errorf("only %d metrics were looked for", len(labels))
	}
}

// dashboard is what is of interest of docs/dashboards/cachewright.json.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Query string }
	}
}

func readDashboard(t *testing.T) (content dashboard) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/dashboards/cachewright.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	return content
}

// Parts of an expression: a metric with what selects its series, the labels of a selection, and
// what is summed by.
var (
	metricPattern   = regexp.MustCompile(`\bcachewright_\w+`)
	selectorPattern = regexp.MustCompile(`\b(cachewright_\w+)(?:\{((?:"[^"]*"|[^"}])*)\})?`)
	matcherPattern  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	groupPattern    = regexp.MustCompile(`\bby \(([^)]*)\)`)
	legendPattern   = regexp.MustCompile(`\{\{(\w+)\}\}`)
	variablePattern = regexp.MustCompile(`\$\{?(\w+)`)
)

// selector is where an expression asks for a metric.
type selector struct {
	metric string
	// chosen are the variables that it is selected by, by label.
	chosen map[string]string
}

func selectorsIn(expression string) (selectors []selector) {
	for _, found := range selectorPattern.FindAllStringSubmatch(expression, -1) {
		s := selector{found[1], map[string]string{}}
		for _, matcher := range matcherPattern.FindAllStringSubmatch(found[2], -1) {
			s.chosen[matcher[1]] = ""
			if variable := variablePattern.FindStringSubmatch(matcher[2]); variable != nil {
				s.chosen[matcher[1]] = variable[1]
			}
		}
		selectors = append(selectors, s)
	}
	return selectors
}

// The dashboard shows every metric, and asks for none, nor for a label, that is not there.
func TestTheDashboardAsksForWhatIsThere(t *testing.T) {
	labels, content, asked := metricLabels(), readDashboard(t), map[string]bool{}
	variables := []string{"__rate_interval"}
	ask := func(where, query string) {
		for _, selector := range selectorsIn(query) {
			asked[selector.metric] = true
			if labels[selector.metric] == nil {
				t.Errorf("%s asks for %s, which the operator does not export", where, selector.metric)
			}
			for label := range selector.chosen {
				if !slices.Contains(labels[selector.metric], label) {
					t.Errorf("%s selects %s by label %s, which it has not", where, selector.metric, label)
				}
			}
		}
		for _, variable := range variablePattern.FindAllStringSubmatch(query, -1) {
			if !slices.Contains(variables, variable[1]) {
				t.Errorf("%s uses the variable %s, which is not declared before", where, variable[1])
			}
		}
	}
	for _, variable := range content.Templating.List {
		ask("variable "+variable.Name, variable.Query)
		variables = append(variables, variable.Name)
	}
	for _, panel := range content.Panels {
		for _, target := range panel.Targets {
			ask(panel.Title, target.Expr)
		}
	}
	for name := range labels {
		if !asked[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// Each expression is of the namespaces, stores and modules that are chosen, and adds up nothing of
// different ones. The replicas of the operator, which have series of their own, are added up.
func TestTheDashboardKeepsApartWhatCanBeChosen(t *testing.T) {
	labels := metricLabels()
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			kept := keptBy(t, target.Expr)
			for _, legend := range legendPattern.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(kept, legend[1]) {
					t.Errorf("%s: the legend names %s, which is not kept", panel.Title, legend[1])
				}
			}
			for _, selector := range selectorsIn(target.Expr) {
				has := labels[selector.metric]
				for _, label := range kept {
					if !slices.Contains(has, label) {
						t.Errorf("%s: %s is grouped by %s, which it has not", panel.Title, selector.metric, label)
					}
				}
				for _, label := range []string{"namespace", "store", "module"} {
					if slices.Contains(has, label) && (!slices.Contains(kept, label) || selector.chosen[label] != label) {
						t.Errorf("%s: %s is not of one chosen %s", panel.Title, selector.metric, label)
					}
				}
			}
		}
	}
}

// keptBy returns the labels that an expression keeps, the same in all its parts.
func keptBy(t *testing.T, expression string) []string {
	t.Helper()
	groups := groupPattern.FindAllStringSubmatch(expression, -1)
	if len(groups) != len(selectorsIn(expression)) {
		t.Fatalf("not every part is grouped: %s", expression)
	}
	for _, group := range groups {
		if group[1] != groups[0][1] {
			t.Errorf("parts are grouped by %s and by %s: %s", groups[0][1], group[1], expression)
		}
	}
	return strings.Split(groups[0][1], ", ")
}

// Prometheus renames labels that it has itself, and it knows the namespace of the pod that it asks.
func TestPrometheusKeepsOurLabels(t *testing.T) {
	text, err := os.ReadFile("../../../config/prometheus/monitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var monitor struct {
		Spec struct {
			Endpoints []struct {
				HonorLabels bool `json:"honorLabels"`
			} `json:"endpoints"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &monitor); err != nil {
		t.Fatal(err)
	}
	if len(monitor.Spec.Endpoints) != 1 || !monitor.Spec.Endpoints[0].HonorLabels {
		t.Errorf("the label namespace would be called exported_namespace: %+v", monitor.Spec)
	}
}

// metricLabels are the labels of each metric, in order.
func metricLabels() map[string][]string {
	descriptions := make(chan *prometheus.Desc, 100)
	New(stats.NewSnapshot()).Describe(descriptions)
	close(descriptions)
	parts := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	labels := map[string][]string{}
	for description := range descriptions {
		found := parts.FindStringSubmatch(description.String())
		labels[found[1]] = strings.Split(found[2], ",")
	}
	return labels
}
