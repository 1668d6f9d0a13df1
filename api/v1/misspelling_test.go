// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"testing"
)

// The API server drops unknown fields of clients that request no validation of fields. The rest of
// a purge must not cover more than its author intended, and a policy or a store must not lack an
// intended limit.
func TestMisspelledFieldsAreRefusedToEveryClient(t *testing.T) {
	const (
		ofTarget    = "spec.targets[0]: Invalid value: there is a field with another name than module, operation, userID or all, or one that is null. Correct it, as more would be purged without it"
		ofPurge     = "spec: Invalid value: there is a field with another name than targets, storeRef, mode, dryRun, holdFor, reason, ttlSecondsAfterFinished or activeDeadlineSeconds, or one that is null. Correct it, as the purge would take place without it"
		ofPolicy    = "spec: Invalid value: there is a field with another name than module, storeRef, defaultTTL, sourceLag, revision, operations, suspend or deletionPolicy. Correct it, as the policy would hold without it"
		ofOperation = "spec.operations[0]: Invalid value: there is a field with another name than name, ttl, staleFor, negativeTTL, localTTL, sourceLag, jitterPercent, scope or maxEntryBytes. Correct it, as the operation would be cached without it"
		ofStore     = "spec: Invalid value: there is a field with another name than mode, addresses, masterName, db, credentialsSecretRef, sentinelCredentialsSecretRef, tls or onDataLoss. Correct it, as the store would be used without it"
		ofTLS       = "spec.tls: Invalid value: there is a field with another name than caSecretRef, clientCertificateSecretRef or serverName. Correct it, as the store would be used without it"
	)
	for _, test := range []struct{ resource, spec, want string }{
		{invalidations, `{"targets":[{"module":"users","userId":"u1"}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","userid":1}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","USERID":"u1"}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","user":{"id":"u1"}}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","userId":null}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","userIDs":["u1","u2"]}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","op":"list"}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","operation":"getById","id":"7"}]}`, ofTarget},
		{invalidations, `{"targets":[{"userID":"u1","modules":["users"]}]}`, ofTarget},
		{invalidations, `{"targets":[{"all":true,"namespace":"other"}]}`, ofTarget},
		{invalidations, `{"targets":[{"user":"u1"}]}`, ofTarget},
		{invalidations, `{"targets":[{"user":"u1"}]}`, "an empty target is refused"},
		{invalidations, `{"targets":[{"module":"users","userID":null}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users","operation":null,"userID":"u1"}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":null,"userID":"u1"}]}`, ofTarget},
		{invalidations, `{"targets":[{"module":"users"}],"dryrun":true}`, ofPurge},
		{invalidations, `{"targets":[{"module":"users"}],"dryRun":null}`, ofPurge},
		{invalidations, `{"targets":[{"module":"users"}],"store":"main"}`, ofPurge},
		{invalidations, `{"targets":[{"module":"users"}],"storeRef":null}`, ofPurge},
		{policies, `{"module":"users","defaultTTL":"5m","operation":[{"name":"create","ttl":"0s"}]}`, ofPolicy},
		{policies, `{"module":"users","defaultTTL":"5m","suspended":true}`, ofPolicy},
		{policies, `{"module":"users","defaultTTL":"5m","sourcelag":"2s"}`, ofPolicy},
		{policies, `{"module":"users","operations":[{"name":"list","ttl":"5m","sourceLagMs":2000}]}`, ofOperation},
		{policies, `{"module":"users","operations":[{"name":"list","ttl":"5m","maxEntrySize":1000}]}`, ofOperation},
		{policies, `{"module":"users","operations":[{"name":"list","ttl":"5m","localTtl":"0s"}]}`, ofOperation},
		{stores, `{"addresses":["redis:6379"],"TLS":{}}`, ofStore},
		{stores, `{"addresses":["redis:6379"],"database":3}`, ofStore},
		{stores, `{"addresses":["redis:6379"],"tls":{"clientCertSecretRef":{"name":"a"}}}`, ofTLS},
	} {
		t.Run(test.spec, func(t *testing.T) {
			for _, fieldValidation := range []string{"Ignore", "Warn", "Strict"} {
				_, err := createJSON(test.resource, test.spec, fieldValidation)
				wantRefused(t, err, []string{test.want})
			}
		})
	}
}
