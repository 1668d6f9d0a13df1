// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestCachePolicyAccepted(t *testing.T) {
	for name, spec := range map[string]string{
		"a module alone":              `{module: users}`,
		"a module of one character":   `{module: u}`,
		"a module with dots":          `{module: shop.users_v2-eu}`,
		"the longest module":          `{module: ` + strings.Repeat("m", 63) + `}`,
		"a disabled default":          `{module: users, defaultTTL: 0s}`,
		"no operations":               `{module: users, operations: []}`,
		"a write operation":           `{module: users, operations: [{name: create, ttl: 0s}]}`,
		"operations of every kind":    `{module: users, operations: [{name: getById, ttl: 300s}, {name: list, ttl: 3m, jitterPercent: 50}, {name: profile, ttl: 10m, scope: User, maxEntryBytes: 67108864}]}`,
		"paths as operations":         `{module: users, operations: [{name: "GET:/users/by-mail", ttl: 1m}]}`,
		"names that differ by case":   `{module: users, operations: [{name: list, ttl: 1m}, {name: List, ttl: 1m}]}`,
		"the longest operation":       `{module: users, operations: [{name: ` + strings.Repeat("o", 128) + `, ttl: 1m}]}`,
		"the most operations":         `{module: users, operations: [` + operations(128) + `]}`,
		"the longest revision":        `{module: users, revision: "` + strings.Repeat("r", 128) + `"}`,
		"a revision that is a number": `{module: users, revision: "42"}`,
		"a source that lags":          `{module: users, defaultTTL: 5m, sourceLag: 2s, operations: [{name: list, ttl: 1m, sourceLag: 500ms}, {name: get, ttl: 1m, sourceLag: 0s}]}`,
		"the longest lag":             `{module: users, sourceLag: 10m, operations: [{name: list, ttl: 1m, sourceLag: 600s}]}`,
		"everything":                  `{module: users, defaultTTL: 5m, sourceLag: 2s, revision: "42", suspend: true, deletionPolicy: Retain, operations: [{name: list, ttl: 3m, staleFor: 30s, negativeTTL: 10s, localTTL: 0s, sourceLag: 1s, jitterPercent: 10, scope: Any, maxEntryBytes: 1}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			mustCreate(t, policies, spec, &v1.CachePolicy{})
		})
	}
}

func TestCachePolicyRefused(t *testing.T) {
	const badModule = `must consist of letters, digits, '.', '_' and '-', and begin and end with a letter or digit, for example: users`
	const badName = `must consist of letters, digits, '.', '_', ':', '/' and '-', and begin and end with a letter or digit, for example: getById`

	for name, test := range map[string]struct {
		spec string
		want []string
	}{
		"no module":                  {`{}`, []string{"spec.module", "Required value"}},
		"an empty module":            {`{module: ""}`, []string{"spec.module", badModule}},
		"a module with a slash":      {`{module: shop/users}`, []string{"spec.module", badModule}},
		"a module with braces":       {`{module: "{users}"}`, []string{"spec.module", badModule}},
		"a module with a colon":      {`{module: "users:v2"}`, []string{"spec.module", badModule}},
		"a module with a space":      {`{module: "my users"}`, []string{"spec.module", badModule}},
		"a module with a line break": {`{module: "users\n"}`, []string{"spec.module", badModule}},
		"a module of other letters":  {`{module: usérs}`, []string{"spec.module", badModule}},
		"a module that ends in dots": {`{module: users..}`, []string{"spec.module", badModule}},
		"a module that is too long":  {`{module: ` + strings.Repeat("m", 64) + `}`, []string{"spec.module", "63"}},
		"a module that is a number":  {`{module: 1}`, []string{"spec.module", "must be of type string"}},

		"an operation without name": {`{module: users, operations: [{ttl: 1m}]}`, []string{"spec.operations[0].name", "Required value"}},
		"an operation without ttl":  {`{module: users, operations: [{name: list}]}`, []string{"spec.operations[0].ttl", "Required value"}},
		"an empty operation name":   {`{module: users, operations: [{name: "", ttl: 1m}]}`, []string{"spec.operations[0].name", badName}},
		"a name with braces":        {`{module: users, operations: [{name: "list{}", ttl: 1m}]}`, []string{"spec.operations[0].name", badName}},
		"a name that is too long":   {`{module: users, operations: [{name: ` + strings.Repeat("o", 129) + `, ttl: 1m}]}`, []string{"spec.operations[0].name", "128"}},
		"one operation twice":       {`{module: users, operations: [{name: list, ttl: 1m}, {name: list, ttl: 2m}]}`, []string{"spec.operations[1]", `Duplicate value: {"name":"list"}`}},
		"too many operations":       {`{module: users, operations: [` + operations(129) + `]}`, []string{"spec.operations", "128"}},

		"staleFor below 0":               {`{module: users, operations: [{name: list, ttl: 1m, staleFor: -30s}]}`, []string{"spec.operations[0].staleFor", "must be a duration from 0s to 720h"}},
		"staleFor in days":               {`{module: users, operations: [{name: list, ttl: 1m, staleFor: 1d}]}`, []string{"spec.operations[0].staleFor", "must be a duration from 0s to 720h"}},
		"localTTL too long":              {`{module: users, operations: [{name: list, ttl: 1m, localTTL: 721h}]}`, []string{"spec.operations[0].localTTL", "must be a duration from 0s to 720h"}},
		"localTTL a number":              {`{module: users, operations: [{name: list, ttl: 1m, localTTL: 10}]}`, []string{"spec.operations[0].localTTL"}},
		"negativeTTL too long":           {`{module: users, operations: [{name: list, ttl: 1m, negativeTTL: 721h}]}`, []string{"spec.operations[0].negativeTTL", "must be a duration from 0s to 720h"}},
		"a lag too long":                 {`{module: users, sourceLag: 601s}`, []string{"spec.sourceLag", "must be a duration from 0s to 10m"}},
		"a lag below 0":                  {`{module: users, sourceLag: -2s}`, []string{"spec.sourceLag", "must be a duration from 0s to 10m"}},
		"a lag without a unit":           {`{module: users, sourceLag: "2"}`, []string{"spec.sourceLag", "must be a duration from 0s to 10m"}},
		"a lag of an operation too long": {`{module: users, operations: [{name: list, ttl: 1m, sourceLag: 10m1ms}]}`, []string{"spec.operations[0].sourceLag", "must be a duration from 0s to 10m"}},
		"a lag that is a number":         {`{module: users, operations: [{name: list, ttl: 1m, sourceLag: 2}]}`, []string{"spec.operations[0].sourceLag", "must be of type string"}},
		"jitter below 0":                 {`{module: users, operations: [{name: list, ttl: 1m, jitterPercent: -1}]}`, []string{"spec.operations[0].jitterPercent", "greater than or equal to 0"}},
		"jitter above 50":                {`{module: users, operations: [{name: list, ttl: 1m, jitterPercent: 51}]}`, []string{"spec.operations[0].jitterPercent", "less than or equal to 50"}},
		"jitter in fractions":            {`{module: users, operations: [{name: list, ttl: 1m, jitterPercent: 0.1}]}`, []string{"spec.operations[0].jitterPercent", "must be of type integer"}},
		"an unknown scope":               {`{module: users, operations: [{name: list, ttl: 1m, scope: Everyone}]}`, []string{"spec.operations[0].scope", `supported values: "Any", "User"`}},
		"entries of no bytes":            {`{module: users, operations: [{name: list, ttl: 1m, maxEntryBytes: 0}]}`, []string{"spec.operations[0].maxEntryBytes", "greater than or equal to 1"}},
		"entries above 64MiB":            {`{module: users, operations: [{name: list, ttl: 1m, maxEntryBytes: 67108865}]}`, []string{"spec.operations[0].maxEntryBytes", "less than or equal to 67108864"}},
		"entries in units":               {`{module: users, operations: [{name: list, ttl: 1m, maxEntryBytes: 64Ki}]}`, []string{"spec.operations[0].maxEntryBytes", "must be of type integer"}},

		"an empty revision":                 {`{module: users, revision: ""}`, []string{"spec.revision", "at least 1 chars long"}},
		"a revision that is too long":       {`{module: users, revision: ` + strings.Repeat("r", 129) + `}`, []string{"spec.revision", "128"}},
		"a revision of too many bytes":      {`{module: users, revision: ` + strings.Repeat("é", 65) + `}`, []string{"spec.revision", "must be at most 128 bytes in UTF-8"}},
		"a revision without quotes":         {`{module: users, revision: 42}`, []string{"spec.revision", "must be of type string"}},
		"an unknown deletion policy":        {`{module: users, deletionPolicy: Orphan}`, []string{"spec.deletionPolicy", `supported values: "Delete", "Retain"`}},
		"suspend as a word":                 {`{module: users, suspend: "yes"}`, []string{"spec.suspend", "must be of type boolean"}},
		"an unknown field":                  {`{module: users, ttl: 5m}`, []string{"spec: Invalid value: there is a field with another name than module"}},
		"an unknown field of an operation":  {`{module: users, operations: [{name: list, ttl: 1m, tll: 2m}]}`, []string{"spec.operations[0]: Invalid value: there is a field with another name than name"}},
		"a field in capitals":               {`{module: users, operations: [{name: list, ttl: 1m, TTL: 2m}]}`, []string{"spec.operations[0]: Invalid value: there is a field with another name than name"}},
		"operations as a map, as elsewhere": {`{module: users, operations: {list: 1m}}`, []string{`unknown field "spec.operations.list"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := create(t, policies, test.spec)
			wantRefused(t, err, test.want)
		})
	}
}

// operations returns n operations in YAML, separated by commas.
func operations(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("{name: op%d, ttl: 1m}", i)
	}
	return strings.Join(list, ", ")
}

func TestCachePolicyDefaults(t *testing.T) {
	policy := mustCreate(t, policies, `{module: users, operations: [{name: list, ttl: 3m}]}`, &v1.CachePolicy{})

	if policy.Spec.DefaultTTL != nil {
		t.Errorf("defaultTTL = %v, want none: operations that are not listed are not cached", policy.Spec.DefaultTTL)
	}
	if policy.Spec.DeletionPolicy != v1.DeletionDelete {
		t.Errorf("deletionPolicy = %q, want Delete", policy.Spec.DeletionPolicy)
	}
	if policy.Spec.Suspend {
		t.Error("suspend = true, want false")
	}
	list := policy.Spec.Operations[0]
	if list.TTL.Duration != 3*time.Minute || list.JitterPercent != 0 || list.Scope != v1.ScopeAny || list.MaxEntryBytes != nil {
		t.Errorf("operation = %+v, want ttl 3m, no jitter, scope Any, no limit of its own", list)
	}
}

func TestCachePolicyModuleIsImmutable(t *testing.T) {
	policy := mustCreate(t, policies, `{module: users}`, &v1.CachePolicy{})

	err := cluster.Patch(context.Background(), policy, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"module":"posts"}}`)))

	wantRefused(t, err, []string{"spec.module", "Forbidden", "module is immutable: create a new CachePolicy for another module and delete this one"})
}

func TestCachePolicyEverythingElseMayChange(t *testing.T) {
	policy := mustCreate(t, policies, `{module: users, defaultTTL: 5m, revision: "1", operations: [{name: list, ttl: 3m}]}`, &v1.CachePolicy{})

	for _, patch := range []string{
		`{"spec":{"defaultTTL":"0s"}}`,
		`{"spec":{"defaultTTL":null}}`,
		`{"spec":{"sourceLag":"2s"}}`,
		`{"spec":{"sourceLag":null}}`,
		`{"spec":{"revision":"2"}}`,
		`{"spec":{"revision":null}}`,
		`{"spec":{"operations":[{"name":"getById","ttl":"300s"}]}}`,
		`{"spec":{"operations":null}}`,
		`{"spec":{"suspend":true}}`,
		`{"spec":{"deletionPolicy":"Retain"}}`,
	} {
		if err := cluster.Patch(context.Background(), policy, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
}
