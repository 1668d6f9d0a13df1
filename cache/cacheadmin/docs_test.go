// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every endpoint in docs/applications.md and in the documentation of the package is served.
func TestTheDocumentedEndpointsAreServed(t *testing.T) {
	names := strings.NewReplacer("{module}", "users", "{operation}", "list", "{user}", "jane", "?module=NAME&module=…", "")
	for file, row := range map[string]*regexp.Regexp{
		"../../docs/applications.md": regexp.MustCompile("(?m)^\\| `([A-Z]+) (/[^`]*)` \\|"),
		"doc.go":                     regexp.MustCompile(`(?m)^//\t(GET|DELETE|POST) +(/\S*)`),
	} {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows := row.FindAllStringSubmatch(string(page), -1)
		if len(rows) != 9 {
			t.Errorf("%s has %d endpoints, want 9", file, len(rows))
		}
		for _, row := range rows {
			_, h := shop(t)
			body := ""
			if row[1] == http.MethodPost {
				body = "user=jane"
			}
			if answer := call(t, h, row[1], names.Replace(row[2]), body); answer.Code != http.StatusOK {
				t.Errorf("%s: %s %s: %d %s", file, row[1], row[2], answer.Code, answer.Body)
			}
		}
	}
}
