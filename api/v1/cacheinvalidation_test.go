// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// TestInvalidationTargets tries every combination of the four fields of a target.
func TestInvalidationTargets(t *testing.T) {
	const (
		notAlone = "all: true purges the whole namespace and stands alone: drop it, or drop module, operation and userID"
		empty    = "an empty target is refused: name a module or a userID, or say all: true to purge every module of the namespace"
		noModule = "operation needs a module: name the module that the operation belongs to"
	)
	for _, test := range []struct {
		target string
		want   string // empty: accepted
	}{
		{`{}`, empty},
		{`{module: users}`, ""},
		{`{operation: list}`, noModule},
		{`{userID: u1}`, ""},
		{`{module: users, operation: list}`, ""},
		{`{module: users, userID: u1}`, ""},
		{`{operation: list, userID: u1}`, noModule},
		{`{module: users, operation: list, userID: u1}`, ""},

		{`{all: true}`, ""},
		{`{all: true, module: users}`, notAlone},
		{`{all: true, operation: list}`, notAlone},
		{`{all: true, userID: u1}`, notAlone},
		{`{all: true, module: users, operation: list}`, notAlone},
		{`{all: true, module: users, userID: u1}`, notAlone},
		{`{all: true, operation: list, userID: u1}`, notAlone},
		{`{all: true, module: users, operation: list, userID: u1}`, notAlone},

		{`{all: false}`, empty},
		{`{all: false, module: users}`, ""},
		{`{all: false, operation: list}`, noModule},
		{`{all: false, userID: u1}`, ""},
		{`{all: false, module: users, operation: list}`, ""},
		{`{all: false, module: users, userID: u1}`, ""},
		{`{all: false, operation: list, userID: u1}`, noModule},
		{`{all: false, module: users, operation: list, userID: u1}`, ""},
	} {
		t.Run(test.target, func(t *testing.T) {
			// The second target, so that the message must say which one it means.
			spec := `{targets: [{module: fine}, ` + test.target + `]}`
			if test.want == "" {
				mustCreate(t, invalidations, spec, &v1.CacheInvalidation{})
				return
			}
			_, err := create(t, invalidations, spec)
			wantRefused(t, err, []string{"spec.targets[1]", test.want})
		})
	}
}

func TestCacheInvalidationAccepted(t *testing.T) {
	for name, spec := range map[string]string{
		"one target":              `{targets: [{module: users}]}`,
		"the most targets":        `{targets: [` + targets(100) + `]}`,
		"one target twice":        `{targets: [{module: users}, {module: users}]}`,
		"a user of any text":      `{targets: [{userID: "ünï 漢字 {}/:*\t"}]}`,
		"the longest names":       `{targets: [{module: ` + strings.Repeat("m", 63) + `, operation: ` + strings.Repeat("o", 128) + `, userID: ` + strings.Repeat("u", 256) + `}]}`,
		"an operation of no rule": `{targets: [{module: users, operation: "find by mail"}]}`,
		"a soft purge":            `{targets: [{module: users}], mode: Soft}`,
		"every option":            `{targets: [{module: users}], mode: Hard, dryRun: true, ttlSecondsAfterFinished: 0, activeDeadlineSeconds: 1}`,
		"a hold":                  `{targets: [{module: users}], holdFor: 15m, reason: "INC-4711 Preise-Import für März"}`,
		"the longest hold":        `{targets: [{all: true}], holdFor: 24h, reason: ` + strings.Repeat("r", 256) + `}`,
		"a hold that only counts": `{targets: [{module: users}], holdFor: 1s, dryRun: true}`,
		"the longest times":       `{targets: [{module: users}], ttlSecondsAfterFinished: 31536000, activeDeadlineSeconds: 31536000}`,
	} {
		t.Run(name, func(t *testing.T) {
			mustCreate(t, invalidations, spec, &v1.CacheInvalidation{})
		})
	}
}

func TestCacheInvalidationRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spec string
		want []string
	}{
		"no targets":                  {`{}`, []string{"spec.targets", "Required value"}},
		"an empty list of targets":    {`{targets: []}`, []string{"spec.targets", "at least 1 item"}},
		"101 targets":                 {`{targets: [` + targets(101) + `]}`, []string{"spec.targets", "100 items"}},
		"an empty module":             {`{targets: [{module: ""}]}`, []string{"spec.targets[0].module", "must consist of letters"}},
		"a module with a slash":       {`{targets: [{module: shop/users}]}`, []string{"spec.targets[0].module", "must consist of letters"}},
		"a module with braces":        {`{targets: [{module: "us{er}s"}]}`, []string{"spec.targets[0].module", "must consist of letters"}},
		"a pattern as a module":       {`{targets: [{module: "user*"}]}`, []string{"spec.targets[0].module", "must consist of letters"}},
		"a module that is too long":   {`{targets: [{module: ` + strings.Repeat("m", 64) + `}]}`, []string{"spec.targets[0].module", "63"}},
		"an empty operation":          {`{targets: [{module: users, operation: ""}]}`, []string{"spec.targets[0].operation", "at least 1 chars long"}},
		"an operation too long":       {`{targets: [{module: users, operation: ` + strings.Repeat("o", 129) + `}]}`, []string{"spec.targets[0].operation", "128"}},
		"an operation of many bytes":  {`{targets: [{module: users, operation: ` + strings.Repeat("é", 65) + `}]}`, []string{"spec.targets[0].operation", "must be at most 128 bytes in UTF-8"}},
		"an empty user":               {`{targets: [{userID: ""}]}`, []string{"spec.targets[0].userID", "at least 1 chars long"}},
		"a user that is too long":     {`{targets: [{userID: ` + strings.Repeat("u", 257) + `}]}`, []string{"spec.targets[0].userID", "256"}},
		"a user of too many bytes":    {`{targets: [{userID: ` + strings.Repeat("漢", 86) + `}]}`, []string{"spec.targets[0].userID", "must be at most 256 bytes in UTF-8"}},
		"a user without quotes":       {`{targets: [{userID: 123}]}`, []string{"spec.targets[0].userID", "must be of type string"}},
		"all as a word":               {`{targets: [{all: "true"}]}`, []string{"spec.targets[0].all", "must be of type boolean"}},
		"an unknown mode":             {`{targets: [{module: users}], mode: Gentle}`, []string{"spec.mode", `supported values: "Hard"`}},
		"a negative time to live":     {`{targets: [{module: users}], ttlSecondsAfterFinished: -1}`, []string{"spec.ttlSecondsAfterFinished", "greater than or equal to 0"}},
		"a time to live of two years": {`{targets: [{module: users}], ttlSecondsAfterFinished: 63072000}`, []string{"spec.ttlSecondsAfterFinished", "less than or equal to 31536000"}},
		"a time to live with a unit":  {`{targets: [{module: users}], ttlSecondsAfterFinished: 1h}`, []string{"spec.ttlSecondsAfterFinished", "must be of type integer"}},
		"no time at all":              {`{targets: [{module: users}], activeDeadlineSeconds: 0}`, []string{"spec.activeDeadlineSeconds", "greater than or equal to 1"}},
		"a deadline in two years":     {`{targets: [{module: users}], activeDeadlineSeconds: 63072000}`, []string{"spec.activeDeadlineSeconds", "less than or equal to 31536000"}},
		"a soft hold":                 {`{targets: [{module: users}], mode: Soft, holdFor: 15m}`, []string{"spec.holdFor", "holdFor needs mode Hard"}},
		"a hold of no time":           {`{targets: [{module: users}], holdFor: 0s}`, []string{"spec.holdFor", "must be a duration from 1s to 24h"}},
		"a hold of days":              {`{targets: [{module: users}], holdFor: 25h}`, []string{"spec.holdFor", "must be a duration from 1s to 24h"}},
		"a hold without a unit":       {`{targets: [{module: users}], holdFor: "15"}`, []string{"spec.holdFor", "must be a duration from 1s to 24h"}},
		"an empty reason":             {`{targets: [{module: users}], reason: ""}`, []string{"spec.reason", "at least 1 chars long"}},
		"a reason of two lines":       {`{targets: [{module: users}], reason: "a\nb"}`, []string{"spec.reason", "must be one line"}},
		"a reason that is too long":   {`{targets: [{module: users}], reason: ` + strings.Repeat("r", 257) + `}`, []string{"spec.reason", "256"}},
		"a reason of too many bytes":  {`{targets: [{module: users}], reason: ` + strings.Repeat("é", 129) + `}`, []string{"spec.reason", "must be one line of at most 256 bytes"}},
		"an unknown field":            {`{targets: [{module: users}], soft: true}`, []string{"spec: Invalid value: there is a field with another name than targets, storeRef"}},
		"an unknown field of target":  {`{targets: [{module: users, user: u1}]}`, []string{"spec.targets[0]: Invalid value: there is a field with another name than module, operation, userID or all"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := create(t, invalidations, test.spec)
			wantRefused(t, err, test.want)
		})
	}
}

// targets returns n targets in YAML, separated by commas.
func targets(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("{module: m%d, operation: list, userID: user-%d}", i, i)
	}
	return strings.Join(list, ", ")
}

func TestCacheInvalidationDefaults(t *testing.T) {
	spec := mustCreate(t, invalidations, `{targets: [{module: users}]}`, &v1.CacheInvalidation{}).Spec

	if spec.Mode != v1.ModeHard || spec.DryRun || spec.TTLSecondsAfterFinished != nil || spec.ActiveDeadlineSeconds != nil {
		t.Errorf("spec = %+v, want mode Hard, no dry run, kept, no deadline", spec)
	}
}

func TestCacheInvalidationIsImmutable(t *testing.T) {
	invalidation := mustCreate(t, invalidations, `{targets: [`+targets(100)+`], activeDeadlineSeconds: 60}`, &v1.CacheInvalidation{})

	for _, patch := range []string{
		`{"spec":{"targets":[{"module":"users"}]}}`,
		`{"spec":{"dryRun":true}}`,
		`{"spec":{"holdFor":"1h"}}`,
		`{"spec":{"ttlSecondsAfterFinished":1}}`,
		`{"spec":{"activeDeadlineSeconds":61}}`,
		`{"spec":{"activeDeadlineSeconds":null}}`,
	} {
		t.Run(patch, func(t *testing.T) {
			err := cluster.Patch(context.Background(), invalidation, client.RawPatch("application/merge-patch+json", []byte(patch)))
			wantRefused(t, err, []string{"spec: Forbidden", "spec is immutable: create another CacheInvalidation instead (kubectl create, with metadata.generateName)"})
		})
	}
}

// To apply a manifest again, as GitOps does every few minutes, is no change.
func TestCacheInvalidationMayBeAppliedAgain(t *testing.T) {
	invalidation := mustCreate(t, invalidations, `{targets: [{module: users}]}`, &v1.CacheInvalidation{})
	before := invalidation.Generation

	err := cluster.Patch(context.Background(), invalidation,
		client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"team":"shop"}},"spec":{"targets":[{"module":"users"}]}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if invalidation.Generation != before {
		t.Errorf("generation went from %d to %d", before, invalidation.Generation)
	}
}
