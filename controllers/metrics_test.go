// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"os"
	"regexp"
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
	descriptions := make(chan *prometheus.Desc, 100)
	NewMetrics().Describe(descriptions)
	close(descriptions)
	names := regexp.MustCompile(`fqName: "([^"]+)"`)
	count := 0
	for description := range descriptions {
		name := names.FindStringSubmatch(description.String())[1]
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/operations.md does not tell of %s", name)
		}
		count++
	}
	if count < 10 {
		t.Errorf("only %d metrics were looked for", count)
	}
}
