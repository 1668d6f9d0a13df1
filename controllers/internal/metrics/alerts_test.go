// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rule is one of config/prometheus/alerts.yaml.
type rule struct {
	Alert       string            `json:"alert"`
	Record      string            `json:"record"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func (r rule) name() string { return r.Alert + r.Record }

func readRules(t *testing.T) (rules []rule) {
	t.Helper()
	var content struct {
		Spec struct {
			Groups []struct {
				Rules []rule `json:"rules"`
			} `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(readText(t, "../../../config/prometheus/alerts.yaml"), &content); err != nil {
		t.Fatal(err)
	}
	for _, group := range content.Spec.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("there are no rules")
	}
	return rules
}

func readText(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var (
	recordedPattern = regexp.MustCompile(`\bcachewright:[\w:]+`)
	mentionPattern  = regexp.MustCompile(`\$labels\.(\w+)`)
	headingPattern  = regexp.MustCompile(`(?m)^##+ (.*)$`)
)

// The alerts ask for no metric, and for no label, that is not there, and speak of labels that are
// left.
func TestAlertsAskForWhatIsThere(t *testing.T) {
	labels, rules := metricLabels(), readRules(t)
	kept := map[string][]string{} // by the rules that record
	for _, r := range rules {
		if r.Record != "" {
			kept[r.Record] = keptBy(t, r.Expr)
		}
	}
	for _, r := range rules {
		var left []string
		for _, selector := range selectorsIn(r.Expr) {
			has := labels[selector.metric]
			if has == nil {
				t.Errorf("%s asks for %s, which the operator does not export", r.name(), selector.metric)
			}
			left = keptBy(t, r.Expr)
			for label := range selector.chosen {
				left = append(left, label)
			}
			for _, label := range left {
				if !slices.Contains(has, label) {
					t.Errorf("%s uses the label %s of %s, which has none", r.name(), label, selector.metric)
				}
			}
		}
		for _, recorded := range recordedPattern.FindAllString(r.Expr, -1) {
			if kept[recorded] == nil {
				t.Errorf("%s asks for %s, which no rule records", r.name(), recorded)
			}
		}
		for _, mention := range mentionPattern.FindAllStringSubmatch(r.Annotations["summary"], -1) {
			if !slices.Contains(left, mention[1]) {
				t.Errorf("%s speaks of the label %s, which is not left", r.name(), mention[1])
			}
		}
		if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
			t.Errorf("%s: parentheses do not match", r.name())
		}
	}
}

// Alerts say what is wrong, and lead to what to do.
func TestAlertsLeadToTheRunbook(t *testing.T) {
	const page = "https://github.com/cachewright/cachewright/blob/main/docs/operations.md#"
	runbook := string(readText(t, "../../../docs/operations.md"))
	var anchors []string
	for _, heading := range headingPattern.FindAllStringSubmatch(runbook, -1) {
		anchors = append(anchors, page+strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-"))
	}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s has no summary, or no severity", r.Alert)
		}
		if !slices.Contains(anchors, r.Annotations["runbook_url"]) {
			t.Errorf("%s leads to %q, where nothing is", r.Alert, r.Annotations["runbook_url"])
		}
		if !strings.Contains(runbook, "| `"+r.Alert+"` |") {
			t.Errorf("operations.md has no row for %s", r.Alert)
		}
	}
}
