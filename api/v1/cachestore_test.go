// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestCacheStoreAccepted(t *testing.T) {
	for name, spec := range map[string]string{
		"an address alone":          `{addresses: ["redis.shop.svc:6379"]}`,
		"a host of one letter":      `{addresses: ["r:1"]}`,
		"an absolute name":          `{addresses: ["redis.shop.svc.cluster.local.:6379"]}`,
		"an IPv4 address":           `{addresses: ["10.0.0.1:65535"]}`,
		"an IPv6 address":           `{addresses: ["[fd00::1]:6379"]}`,
		"a database":                `{addresses: ["r:6379"], db: 65535}`,
		"TLS by the system's roots": `{addresses: ["r:6379"], tls: {}}`,
		"a cluster":                 `{mode: Cluster, addresses: ["r-0:6379", "r-1:6379", "r-2:6379"]}`,
		"the most addresses":        `{mode: Cluster, addresses: [` + addresses(32) + `]}`,
		"sentinels":                 `{mode: Sentinel, masterName: mymaster, addresses: ["s-0:26379", "s-1:26379"], db: 3}`,
		"a Secret with dots":        `{addresses: ["r:6379"], credentialsSecretRef: {name: redis-0.auth}}`,
		"a Secret with a long name": `{addresses: ["r:6379"], credentialsSecretRef: {name: ` + longName + `}}`,
		"everything": `{mode: Sentinel, masterName: mymaster, addresses: ["s:26379"], db: 1, credentialsSecretRef: {name: a}, sentinelCredentialsSecretRef: {name: b},
			tls: {caSecretRef: {name: c}, clientCertificateSecretRef: {name: d}, serverName: redis.shop}, onDataLoss: Replay}`,
	} {
		t.Run(name, func(t *testing.T) {
			mustCreate(t, stores, spec, &v1.CacheStore{})
		})
	}
}

func TestCacheStoreRefused(t *testing.T) {
	const badName = "must be the name of a Secret: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	const badAddress = "must be host:port with a port from 1 to 65535, for example redis.shop.svc:6379 or [fd00::1]:6379"

	for name, test := range map[string]struct {
		spec string
		want []string
	}{
		"no addresses":               {`{}`, []string{"spec.addresses", "Required value"}},
		"an empty list of addresses": {`{addresses: []}`, []string{"spec.addresses", "at least 1"}},
		"too many addresses":         {`{mode: Cluster, addresses: [` + addresses(33) + `]}`, []string{"spec.addresses", "32"}},
		"one address twice":          {`{mode: Cluster, addresses: ["r:1", "r:1"]}`, []string{"spec.addresses[1]", "Duplicate value"}},
		"a host alone":               {`{addresses: [redis]}`, []string{"spec.addresses[0]", badAddress}},
		"a port alone":               {`{addresses: [":6379"]}`, []string{"spec.addresses[0]", badAddress}},
		"port 0":                     {`{addresses: ["r:0"]}`, []string{"spec.addresses[0]", badAddress}},
		"a port out of range":        {`{addresses: ["r:65536"]}`, []string{"spec.addresses[0]", badAddress}},
		"a port of a billion":        {`{addresses: ["r:1000000000"]}`, []string{"spec.addresses[0]", badAddress}},
		"a URL":                      {`{addresses: ["redis://r:6379"]}`, []string{"spec.addresses[0]", badAddress}},
		"a password in the address":  {`{addresses: ["user:secret@r:6379"]}`, []string{"spec.addresses[0]", badAddress}},
		"IPv6 without brackets":      {`{addresses: ["fd00::1:6379"]}`, []string{"spec.addresses[0]", badAddress}},
		"a line break":               {`{addresses: ["r:6379\n"]}`, []string{"spec.addresses[0]", badAddress}},
		"an endless address":         {`{addresses: ["` + strings.Repeat("r", 260) + `:6379"]}`, []string{"spec.addresses[0]", "261"}},

		"two standalone servers":                {`{addresses: ["r-0:6379", "r-1:6379"]}`, []string{"spec.addresses", "mode Standalone has exactly one address"}},
		"a database of a cluster":               {`{mode: Cluster, addresses: ["r:6379"], db: 1}`, []string{"spec.db", "a Redis Cluster has database 0 only"}},
		"sentinels without masterName":          {`{mode: Sentinel, addresses: ["s:26379"]}`, []string{"spec.masterName", "mode Sentinel needs masterName"}},
		"an empty masterName":                   {`{mode: Sentinel, masterName: "", addresses: ["s:26379"]}`, []string{"spec.masterName", "at least 1"}},
		"masterName without sentinels":          {`{addresses: ["r:6379"], masterName: mymaster}`, []string{"spec.masterName", "masterName is for mode Sentinel only"}},
		"credentials of sentinels without them": {`{addresses: ["r:6379"], sentinelCredentialsSecretRef: {name: a}}`, []string{"spec.sentinelCredentialsSecretRef", "is for mode Sentinel only"}},
		"an unknown mode":                       {`{mode: Ring, addresses: ["r:6379"]}`, []string{"spec.mode", `supported values: "Standalone", "Sentinel", "Cluster"`}},
		"a database below 0":                    {`{addresses: ["r:6379"], db: -1}`, []string{"spec.db", "greater than or equal to 0"}},
		"an unknown way with lost data":         {`{addresses: ["r:6379"], onDataLoss: Ignore}`, []string{"spec.onDataLoss", `supported values: "Replay", "InvalidateAll"`}},

		"a password in the open":         {`{addresses: ["r:6379"], password: secret}`, []string{"spec: Invalid value: there is a field with another name than mode"}},
		"a Secret without name":          {`{addresses: ["r:6379"], credentialsSecretRef: {}}`, []string{"spec.credentialsSecretRef.name", "Required value"}},
		"a Secret of another namespace":  {`{addresses: ["r:6379"], credentialsSecretRef: {name: a, namespace: b}}`, []string{`unknown field "spec.credentialsSecretRef.namespace"`}},
		"a Secret behind a slash":        {`{addresses: ["r:6379"], credentialsSecretRef: {name: redis/auth}}`, []string{"spec.credentialsSecretRef.name", badName}},
		"a Secret that is a path":        {`{addresses: ["r:6379"], credentialsSecretRef: {name: ".."}}`, []string{"spec.credentialsSecretRef.name", badName}},
		"a Secret with an escape":        {`{addresses: ["r:6379"], tls: {caSecretRef: {name: "a%2fb"}}}`, []string{"spec.tls.caSecretRef.name", badName}},
		"a Secret in capitals":           {`{addresses: ["r:6379"], tls: {clientCertificateSecretRef: {name: Redis}}}`, []string{"spec.tls.clientCertificateSecretRef.name", badName}},
		"a Secret with two dots":         {`{addresses: ["r:6379"], credentialsSecretRef: {name: a..b}}`, []string{"spec.credentialsSecretRef.name", badName}},
		"a Secret with a line break":     {`{addresses: ["r:6379"], credentialsSecretRef: {name: "a\n"}}`, []string{"spec.credentialsSecretRef.name", badName}},
		"a Secret of the sentinels":      {`{mode: Sentinel, masterName: m, addresses: ["s:1"], sentinelCredentialsSecretRef: {name: a_b}}`, []string{"spec.sentinelCredentialsSecretRef.name", badName}},
		"a Secret with too long a name":  {`{addresses: ["r:6379"], credentialsSecretRef: {name: ` + longName + `s}}`, []string{"spec.credentialsSecretRef.name", "253"}},
		"TLS that checks no certificate": {`{addresses: ["r:6379"], tls: {insecureSkipVerify: true}}`, []string{"spec.tls: Invalid value: there is a field with another name than caSecretRef"}},
		"an empty server name":           {`{addresses: ["r:6379"], tls: {serverName: ""}}`, []string{"spec.tls.serverName", "at least 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := create(t, stores, test.spec)
			wantRefused(t, err, test.want)
		})
	}
}

// longName has as many characters as a name may have.
var longName = strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61)

// addresses returns n addresses in YAML, separated by commas.
func addresses(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"r-%d:6379"`, i)
	}
	return strings.Join(list, ", ")
}

func TestCacheStoreDefaults(t *testing.T) {
	store := mustCreate(t, stores, `{addresses: ["r:6379"]}`, &v1.CacheStore{})

	if store.Spec.Mode != v1.StoreStandalone || store.Spec.DB != 0 || store.Spec.OnDataLoss != v1.DataLossInvalidateAll || store.Spec.TLS != nil {
		t.Errorf("spec = %+v, want mode Standalone, db 0, no TLS, onDataLoss InvalidateAll", store.Spec)
	}
	if store.Status.ObservedGeneration != -1 {
		t.Errorf("observedGeneration = %d, want -1: tools must not take a fresh object for a finished one", store.Status.ObservedGeneration)
	}
}

func TestCacheStoreMayChange(t *testing.T) {
	store := mustCreate(t, stores, `{addresses: ["r:6379"]}`, &v1.CacheStore{})

	for _, patch := range []string{
		`{"spec":{"addresses":["other:6379"]}}`,
		`{"spec":{"mode":"Cluster"}}`,
		`{"spec":{"mode":"Sentinel","masterName":"mymaster"}}`,
		`{"spec":{"credentialsSecretRef":{"name":"redis-auth"}}}`,
		`{"spec":{"tls":{}}}`,
		`{"spec":{"onDataLoss":"Replay"}}`,
	} {
		if err := cluster.Patch(context.Background(), store, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
}

func TestStoreRef(t *testing.T) {
	const immutable = "storeRef is immutable: create a new CachePolicy for the other store"
	policy := mustCreate(t, policies, `{module: users, storeRef: {name: main}}`, &v1.CachePolicy{})
	without := mustCreate(t, policies, `{module: users}`, &v1.CachePolicy{})
	mustCreate(t, invalidations, `{targets: [{module: users}], storeRef: {name: main}}`, &v1.CacheInvalidation{})

	for _, test := range []struct {
		policy *v1.CachePolicy
		patch  string
	}{
		{policy, `{"spec":{"storeRef":{"name":"other"}}}`},
		{policy, `{"spec":{"storeRef":null}}`},
		{without, `{"spec":{"storeRef":{"name":"main"}}}`},
	} {
		err := cluster.Patch(context.Background(), test.policy.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(test.patch)))
		wantRefused(t, err, []string{"spec.storeRef", "Forbidden", immutable})
	}
	for _, spec := range []string{
		`{module: users, storeRef: {name: main, namespace: other}}`,
		`{module: users, storeRef: {}}`,
		`{module: users, storeRef: main}`,
	} {
		_, err := create(t, policies, spec)
		wantRefused(t, err, []string{"spec.storeRef"})
	}
}

// The operator would search without end for a name that no CacheStore can have.
func TestStoreRefIsAName(t *testing.T) {
	const badName = "must be the name of a CacheStore: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	for _, name := range []string{"..", "a/b", "a%2fb", "Main", "main-", "a..b", `"main\n"`} {
		for resource, spec := range map[string]string{
			policies:      `{module: users, storeRef: {name: ` + name + `}}`,
			invalidations: `{targets: [{module: users}], storeRef: {name: ` + name + `}}`,
		} {
			_, err := create(t, resource, spec)
			wantRefused(t, err, []string{"spec.storeRef.name", badName})
		}
	}
	mustCreate(t, policies, `{module: users, storeRef: {name: redis-0.shop}}`, &v1.CachePolicy{})
}

func TestKubectlGetCacheStore(t *testing.T) {
	store := mustCreate(t, stores, `{addresses: ["redis.shop.svc:6379"]}`, &v1.CacheStore{})
	if fresh := kubectl(t, "get", "cstore", store.Name); !strings.Contains(fresh, store.Name+" Standalone 0 0 0 ") {
		t.Errorf("before the operator has seen the store kubectl printed\n%s\nwant 0 modules, keys and unclaimed names", fresh)
	}
	store.Status = v1.CacheStoreStatus{
		ObservedGeneration: 1,
		Conditions: []metav1.Condition{
			condition(v1.ConditionReady, v1.ReasonConnected, "in use"), condition(v1.ConditionAtRisk, v1.ReasonMemoryFull, "full"),
		},
		ServerVersion: "7.0.15", Mode: "standalone", Role: "primary", EvictionPolicy: "allkeys-lru",
		Memory:         &v1.StoreMemory{UsedBytes: 123456, MaxBytes: 0},
		LibraryVersion: 1, Servers: 1, Modules: 7, Keys: 1234, Unclaimed: 2, UnclaimedNames: []string{"posts/lst", "user"},
	}
	if err := cluster.Status().Update(context.Background(), store); err != nil {
		t.Fatal(err)
	}

	for args, want := range map[string][]string{
		"get cstore " + store.Name:              {"NAME MODE READY VERSION MODULES KEYS UNCLAIMED AGE", store.Name + " Standalone True 7.0.15 7 1234 2"},
		"get cachestores -o wide " + store.Name: {"AT RISK ADDRESSES SERVERS MEMORY EVICTION REASON MESSAGE", `MemoryFull ["redis.shop.svc:6379"] 1 123456 allkeys-lru Connected in use`},
		"get cachewright":                       {"cachestore.cachewright.io/" + store.Name},
		"explain cstore.spec.onDataLoss":        {"Default InvalidateAll."},
	} {
		got := kubectl(t, strings.Fields(args)...)
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("kubectl %s printed\n%s\nwant %q", args, got, part)
			}
		}
	}
}
