// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/registry"
)

const head = "apiVersion: cachewright.io/v1\nkind: CachePolicy\nmetadata: {name: p}\n"

func TestAManifestIsRead(t *testing.T) {
	found, err := Parse([]byte(head + `spec:
  module: users
  storeRef: {name: main}
  defaultTTL: 5m
  sourceLag: 2s
  revision: "42"
  suspend: true
  deletionPolicy: Retain
  operations:
  - {name: profile, ttl: 10m, scope: User, maxEntryBytes: 65536, localTTL: 0s}
  - {name: list, ttl: 1h30m, staleFor: 1.5s, negativeTTL: 10s, sourceLag: 0s, jitterPercent: 10, scope: Any}
`))
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v (%v)", found, err)
	}
	want := registry.Policy{
		Revision: "42", DefaultTTL: new(5 * time.Minute), SourceLag: 2 * time.Second,
		Operations: []registry.OperationPolicy{
			{Name: "list", TTL: 90 * time.Minute, StaleFor: 1500 * time.Millisecond, NegativeTTL: 10 * time.Second, SourceLag: new(time.Duration(0)), JitterPercent: 10},
			{Name: "profile", TTL: 10 * time.Minute, Scope: registry.ScopeUser, MaxEntryBytes: 65536, LocalTTL: new(time.Duration(0))},
		},
	}
	if got := found[0]; got.Name != "p" || got.Module != "users" || got.Store != "main" || got.Policy.Hash() != want.Hash() {
		t.Errorf("got %+v", got)
	}
}

func TestDocumentsAreTakenApart(t *testing.T) {
	policy := func(module string) string { return head + "spec: {module: " + module + "}\n" }
	for name, test := range map[string]struct{ text, want string }{
		"one":                      {policy("a"), "a"},
		"two":                      {policy("a") + "---\n" + policy("b"), "a b"},
		"empty ones":               {"---\n\n---\n# nothing\n---\n" + policy("a") + "---\n---\n", "a"},
		"markers with more":        {"--- # first\n" + policy("a") + "---\t\n" + policy("b"), "a b"},
		"line ends of Windows":     {strings.ReplaceAll(policy("a")+"---\n"+policy("b"), "\n", "\r\n"), "a b"},
		"no line end":              {policy("a") + "---", "a"},
		"text with a marker in it": {"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    ---\n    kind: CachePolicy\n---\n" + policy("b"), "b"},
		"JSON":                     {`{"apiVersion": "cachewright.io/v1", "kind": "CachePolicy", "metadata": {"name": "p"}, "spec": {"module": "a"}}`, "a"},
		"a list": {
			"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n- apiVersion: cachewright.io/v1\n  kind: CachePolicy\n  spec: {module: a}\n", "a",
		},
		"others":        {"apiVersion: cachewright.io/v1\nkind: CacheStore\nspec: {addresses: []}\n---\nreplicas: 3\n---\n- 1\n---\ntext\n---\nkind: 7\n", ""},
		"an empty text": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Parse([]byte(test.text))
			var modules []string
			for _, policy := range found {
				modules = append(modules, policy.Module)
			}
			if got := strings.Join(modules, " "); got != test.want || err != nil {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"a: {":                       "document 1: ",
		"a: 1\na: 2":                 `document 1: `,
		head + "spec: {}":            "CachePolicy p: spec.module: is required",
		head + "spec: users":         "CachePolicy p: spec must be an object",
		head:                         "CachePolicy p: spec must be an object",
		head + "spec: {module: 1}":   "spec.module: must not be a number",
		head + "spec: {module: a b}": `spec.module: "a b" is not a name`,
		head + "spec: {Module: a}":   "spec.module: is required",
		head + "spec: {module: a, operations: [{name: l, ttl: 1m}, {name: l, ttl: 1m}]}": `spec.operations[1].name: "l" is listed twice`,
		head + "spec: {module: a, operations: [{name: l}]}":                              "spec.operations[0].ttl: is required",
		head + "spec: {module: a, operations: [{name: l, ttl: 1m, TTL: 2m}]}":            "spec.operations[0].TTL: there is no such field",
		head + "spec: {module: a, operations: [l]}":                                      "spec.operations[0] must be an object",
		head + "spec: {module: a, operations: {}}":                                       "spec.operations: must not be a object",
		head + "spec: {module: a, storeRef: {nam: x}}":                                   "spec.storeRef.name: is required",
		head + "spec: {module: a, deletionPolicy: Keep}":                                 `spec.deletionPolicy: must be Delete or Retain, not "Keep"`,
		head + "spec: {module: a, sourceLag: 11m}":                                       "spec.sourceLag: must be a duration from 0s to 10m",
		"apiVersion: cachewright.io/v2\nkind: CachePolicy\nmetadata: {name: p}\n":        "CachePolicy p: apiVersion must be cachewright.io/v1",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// Whatever a file has in it, reading it ends with policies or an error.
func TestAnyTextIsReadOrRefused(t *testing.T) {
	words := []string{
		"apiVersion: cachewright.io/v1\n", "kind: CachePolicy\n", "kind: List\n", "spec:\n", "  module: users\n", "  operations:\n", "  - name: list\n", "    ttl: 5m\n",
		"    ttl: -1\n", "items: [{}]\n", "---\n", "--- ", "\t", "{", "}", "[", ": ", "&a ", "*a ", "null", "\r\n", "\x00", "\xff", "!!binary x", "? ", "- ",
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.SampledFrom(words)).Draw(t, "words"), "")
		found, err := Parse([]byte(text))
		for _, policy := range found {
			if err == nil && policy.Module == "" {
				t.Fatalf("%q has a policy without a module", text)
			}
		}
	})
}
