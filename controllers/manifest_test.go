// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cachewright/cachewright/internal/manifest"
)

// specsOfPolicies are specs in YAML, good ones and bad ones: each field, at its bounds and beyond.
func specsOfPolicies() []string {
	specs := []string{
		`{}`, `{module: users}`, `{module: ""}`, `{module: null}`, `{module: 1}`, `{module: [users]}`, `{module: a b}`, `{module: a/b}`, `{module: -a}`, `{module: a.}`, `{module: usérs}`,
		`{module: "users\n"}`, `{Module: users}`, `{module: ` + strings.Repeat("m", 63) + `}`, `{module: ` + strings.Repeat("m", 64) + `}`, `{module: users, modul: users}`,
		`{module: users, storeRef: {name: main}}`, `{module: users, storeRef: {}}`, `{module: users, storeRef: main}`, `{module: users, storeRef: {name: Main}}`, `{module: users, storeRef: {name: a..b}}`,
		`{module: users, storeRef: {name: main, namespace: shop}}`, `{module: users, storeRef: {name: ""}}`, `{module: users, storeRef: {name: redis-0.shop}}`,
		`{module: users, revision: ""}`, `{module: users, revision: 42}`, `{module: users, revision: "42"}`, `{module: users, revision: ` + strings.Repeat("r", 128) + `}`, `{module: users, revision: ` + strings.Repeat("r", 129) + `}`,
		`{module: users, revision: ` + strings.Repeat("é", 65) + `}`, `{module: users, suspend: true}`, `{module: users, suspend: "true"}`, `{module: users, suspend: 1}`,
		`{module: users, deletionPolicy: Retain}`, `{module: users, deletionPolicy: retain}`, `{module: users, deletionPolicy: ""}`, `{module: users, deletionPolicy: 1}`,
		`{module: users, operations: []}`, `{module: users, operations: {}}`, `{module: users, operations: [list]}`, `{module: users, operations: [{}]}`, `{module: users, operations: [{name: list}]}`, `{module: users, operations: [{ttl: 1m}]}`,
		`{module: users, operations: [{name: list, ttl: 1m}, {name: list, ttl: 1m}]}`, `{module: users, operations: [{name: list, ttl: 1m}, {name: List, ttl: 1m}]}`,
	}
	for _, name := range []string{`""`, `1`, `a b`, `-a`, `a/`, `"GET:/users/by-mail"`, `"a\n"`, strings.Repeat("o", 128), strings.Repeat("o", 129)} {
		specs = append(specs, `{module: users, operations: [{name: `+name+`, ttl: 1m}]}`)
	}
	for _, duration := range []string{
		`0s`, `0`, `5`, `5m`, `"5 m"`, `-5m`, `+5m`, `1.5s`, `1.5555s`, `.5s`, `1.s`, `1.5ms`, `1d`, `1us`, `1ns`, `720h`, `720h1ms`, `43200m`, `721h`, `10m`, `10m1ms`, `600s`, `601s`, `1h30m`, `1m1h`, `99999h`, `9999h`, `""`, `null`, `[5m]`,
		`99999999999ms`, `999999999999ms`, `0000000000000000000000000000000s`, `1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s`, `1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s`,
	} {
		for _, field := range []string{"defaultTTL", "sourceLag"} {
			specs = append(specs, fmt.Sprintf(`{module: users, %s: %s}`, field, duration))
		}
		specs = append(specs, `{module: users, operations: [{name: list, ttl: `+duration+`}]}`)
		for _, field := range []string{"staleFor", "negativeTTL", "localTTL", "sourceLag"} {
			specs = append(specs, fmt.Sprintf(`{module: users, operations: [{name: list, ttl: 1m, %s: %s}]}`, field, duration))
		}
	}
	for field, values := range map[string][]string{
		"jitterPercent": {`0`, `50`, `51`, `-1`, `1.5`, `"1"`}, "maxEntryBytes": {`0`, `1`, `67108864`, `67108865`, `-1`, `1Ki`},
		"scope": {`Any`, `User`, `user`, `""`, `1`}, "unknown": {`1`},
	} {
		for _, value := range values {
			specs = append(specs, fmt.Sprintf(`{module: users, operations: [{name: list, ttl: 1m, %s: %s}]}`, field, value))
		}
	}
	var most []string
	for i := range 129 {
		most = append(most, fmt.Sprintf(`{name: o%d, ttl: 1m}`, i))
	}
	return append(specs, `{module: users, operations: [`+strings.Join(most[:128], ",")+`]}`, `{module: users, operations: [`+strings.Join(most, ",")+`]}`)
}

// Tests of applications read manifests without an API server: what they accept must be what is
// accepted when it is deployed.
var _ = Describe("A CachePolicy manifest", func() {
	It("is accepted for tests if and only if the API server accepts it", func(ctx SpecContext) {
		on, accepted := newStage(ctx), 0
		specs := specsOfPolicies()
		for _, spec := range specs {
			text := "apiVersion: cachewright.io/v1\nkind: CachePolicy\nmetadata: {name: policy, namespace: " + on.namespace + "}\nspec: " + spec
			_, readErr := manifest.Parse([]byte(text))
			asJSON, err := yaml.YAMLToJSON([]byte(text))
			Expect(err).NotTo(HaveOccurred(), spec)
			policy := &unstructured.Unstructured{}
			Expect(json.Unmarshal(asJSON, policy)).To(Succeed(), spec)
			err = k8s.Create(ctx, policy, client.DryRunAll, client.FieldValidation("Strict"))
			Expect(err).To(Or(BeNil(), MatchError(apierrors.IsInvalid, "IsInvalid"), MatchError(apierrors.IsBadRequest, "IsBadRequest")), spec)
			Expect(readErr == nil).To(Equal(err == nil), "%s:\nthe test says %v\nthe API server %v", spec, readErr, err)
			if err == nil {
				accepted++
			}
		}
		Expect(accepted).To(And(BeNumerically(">", len(specs)/5), BeNumerically("<", len(specs)*4/5)), "the table shows little")
	})
})
