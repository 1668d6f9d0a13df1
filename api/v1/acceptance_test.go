// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kjson "k8s.io/apimachinery/pkg/util/json"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// complete are objects with every field.
var complete = []struct {
	resource     string
	object       func() client.Object
	plain        func() any
	spec, status string
}{
	{
		resource: policies, object: func() client.Object { return &v1.CachePolicy{} }, plain: func() any { return &plainPolicyStatus{} },
		spec: `{"module":"users","storeRef":{"name":"main"},"defaultTTL":"5m","sourceLag":"2s","revision":"r1","suspend":false,"deletionPolicy":"Delete","operations":[
			{"name":"list","ttl":"1m","staleFor":"1s","negativeTTL":"1s","localTTL":"1s","sourceLag":"1s","jitterPercent":1,"scope":"Any","maxEntryBytes":1}]}`,
		status: `{"observedGeneration":1,"conditions":[` + aCondition + `],"appliedHash":"h","appliedRevision":"r","lastPurgeTime":` + aTime + `,
			"stats":{"observedTime":` + aTime + `,"keys":1,"memoryBytes":1,"pendingKeys":1,"hits":1,"staleHits":1,"misses":1,"hitRatio":"1%","operations":[
			{"name":"list","keys":1,"hits":1,"staleHits":1,"misses":1,"fills":1,"fencedFills":1,"invalidations":1,"hitRatio":"1%"}]}}`,
	},
	{
		resource: invalidations, object: func() client.Object { return &v1.CacheInvalidation{} }, plain: func() any { return &plainInvalidationStatus{} },
		spec: `{"targets":[{"module":"users","operation":"list","userID":"u1","all":false}],"storeRef":{"name":"main"},"mode":"Hard","dryRun":false,
			"holdFor":"15m","reason":"import","ttlSecondsAfterFinished":1,"activeDeadlineSeconds":1}`,
		status: `{"observedGeneration":1,"conditions":[` + aCondition + `],"state":"Complete","startTime":` + aTime + `,"effectiveTime":"2026-01-02T15:04:05.678901Z",
			"completionTime":` + aTime + `,"holdEndTime":` + aTime + `,"ends":"14m","holdsLost":1,"duration":"1ms","targetSummary":"users","keysInvalidated":1,"keysReclaimed":1,"targets":[
			{"modules":1,"keysInvalidated":1,"keysPending":1,"message":"m"}]}`,
	},
	{
		resource: stores, object: func() client.Object { return &v1.CacheStore{} }, plain: func() any { return &plainStoreStatus{} },
		spec: `{"mode":"Sentinel","addresses":["redis:26379"],"masterName":"main","db":1,"credentialsSecretRef":{"name":"a"},"sentinelCredentialsSecretRef":{"name":"b"},
			"tls":{"caSecretRef":{"name":"c"},"clientCertificateSecretRef":{"name":"d"},"serverName":"redis"},"onDataLoss":"Replay"}`,
		status: `{"observedGeneration":1,"conditions":[` + aCondition + `],"serverVersion":"7","mode":"standalone","role":"primary","evictionPolicy":"noeviction",
			"memory":{"usedBytes":1,"maxBytes":1},"libraryVersion":1,"servers":1,"modules":1,"keys":1,"unclaimed":1,"unclaimedNames":["a"]}`,
	},
}

// Without the methods that decode what a schema should have refused.
type (
	plainPolicyStatus       v1.CachePolicyStatus
	plainInvalidationStatus v1.CacheInvalidationStatus
	plainStoreStatus        v1.CacheStoreStatus
)

const (
	aTime      = `"2026-01-02T15:04:05Z"`
	aCondition = `{"type":"Ready","status":"True","observedGeneration":1,"lastTransitionTime":` + aTime + `,"reason":"Applied","message":"m"}`
)

// The operator decodes what a schema accepts, and can write it again. One object that it cannot
// decode would stop its watch of all objects of the kind.
func TestEveryTextThatTheSchemaAcceptsDecodes(t *testing.T) {
	for _, kind := range complete {
		t.Run(kind.resource, func(t *testing.T) {
			t.Parallel()
			schema := schemaOf(t, kind.resource)
			t.Run("spec", func(t *testing.T) {
				tryEach(t, "spec", schema.Properties["spec"], kind.spec, func(spec string) (client.Object, error) {
					stored, err := createJSON(kind.resource, spec, "Ignore")
					if err != nil {
						return nil, err
					}
					return decoded(t, stored, kind.object()), nil
				})
				wantListed(t, kind.resource)
			})
			t.Run("status", func(t *testing.T) {
				latest := mustCreate(t, kind.resource, kind.spec, kind.object())
				tryEach(t, "status", schema.Properties["status"], kind.status, func(status string) (client.Object, error) {
					stored, err := putStatus(kind.resource, latest, kind.spec, status)
					if err != nil {
						return nil, err
					}
					latest = decoded(t, stored, kind.object())
					decoded(t, statusOf(t, stored), kind.plain())
					return latest, cluster.Status().Update(context.Background(), latest)
				})
			})
		})
	}
}

// The API server decodes metadata, and must refuse or drop what Go cannot read.
func TestEveryMetadataThatIsAcceptedDecodes(t *testing.T) {
	accepted := 0
	for _, kind := range complete {
		for _, metadata := range []string{
			`"labels":null`, `"labels":{"a":null}`, `"labels":{"a":1}`, `"labels":[]`, `"annotations":{"a":null}`, `"annotations":{"a":true}`, `"annotations":"a"`,
			`"finalizers":null`, `"finalizers":[""]`, `"finalizers":[null]`, `"finalizers":["example.com/a","example.com/a"]`, `"ownerReferences":[{}]`, `"ownerReferences":[null]`,
			`"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":""}]`, `"generation":1e30`, `"generation":"1"`, `"generation":9223372036854775807`,
			`"creationTimestamp":null`, `"creationTimestamp":""`, `"creationTimestamp":"now"`, `"creationTimestamp":"2026-01-02t15:04:05z"`, `"creationTimestamp":[]`,
			`"deletionTimestamp":"2026-01-02t15:04:05z"`, `"deletionTimestamp":[]`, `"deletionGracePeriodSeconds":1.5`, `"deletionGracePeriodSeconds":-1`, `"uid":1`, `"uid":""`,
			`"selfLink":1`, `"resourceVersion":""`, `"managedFields":[{}]`, `"managedFields":[null]`, `"managedFields":[{"manager":"a","operation":"Update","time":"2026-01-02t15:04:05z"}]`,
			`"managedFields":[{"manager":"a","operation":"Update","time":[],"fieldsV1":[]}]`, `"unknown":{"a":1}`, `"namespace":null`,
		} {
			body := fmt.Sprintf(`{"apiVersion":"cachewright.io/v1","kind":%q,"metadata":{"generateName":"test-",%s},"spec":%s}`, kinds[kind.resource], metadata, kind.spec)
			stored, err := send(cluster.raw.Post(), kind.resource, body, "Ignore")
			if err != nil {
				wantRefused(t, err, nil)
				continue
			}
			accepted++
			decoded(t, stored, kind.object())
		}
		wantListed(t, kind.resource)
	}
	if accepted == 0 {
		t.Error("every metadata is refused, so this tries nothing")
	}
}

// tryEach sends a text with each candidate in the place of each field below root. An accepted text
// must decode. If send writes it again, the API server must accept it as Go writes it.
func tryEach(t *testing.T, root string, schema apiextensions.JSONSchemaProps, text string, send func(string) (client.Object, error)) {
	t.Helper()
	var tree any
	if err := kjson.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatalf("the test's own JSON is broken: %v\n%s", err, text)
	}
	trial := &trial{t: t, tree: tree, send: send}
	plain := map[string][]place{}
	for _, field := range placesOf(t, root, schema, tree) {
		for _, candidate := range candidatesFor(field.schema) {
			if len(field.schema.Properties) > 0 || field.schema.Items != nil {
				trial.try(candidate, field)
			} else {
				plain[candidate] = append(plain[candidate], field)
			}
		}
	}
	for _, candidate := range slices.Sorted(maps.Keys(plain)) {
		trial.try(candidate, plain[candidate]...)
	}
	if trial.accepted == 0 {
		t.Error("every text is refused, so this tries nothing")
	}
}

// trial sends a tree with other values in some places.
type trial struct {
	t        *testing.T
	tree     any
	send     func(string) (client.Object, error)
	accepted int
}

// try sends a candidate in several places at once, for thousands of single requests would take most
// of the time of this package. Where it is refused, it is tried without the places that the refusal
// names. If it names none, each half is tried. So each place accepts the candidate, or is named, or
// was tried alone.
func (r *trial) try(candidate string, places ...place) {
	r.t.Helper()
	object, err := r.sendWith(candidate, places)
	switch {
	case err == nil:
		r.accepted += len(places)
		return
	case object != nil:
		r.t.Errorf("%v: %s is accepted, but the operator can write no status: %v", places, candidate, err)
		return
	}
	wantRefused(r.t, err, nil)
	if len(places) == 1 {
		return
	}
	switch others := notNamed(err, places); len(others) {
	case 0:
	case len(places):
		half := len(places) / 2
		r.try(candidate, places[:half]...)
		r.try(candidate, places[half:]...)
	default:
		r.try(candidate, others...)
	}
}

func (r *trial) sendWith(candidate string, places []place) (client.Object, error) {
	r.t.Helper()
	for _, p := range places {
		p.put(json.RawMessage(candidate))
	}
	body, err := json.Marshal(r.tree)
	for _, p := range places {
		p.put(p.value)
	}
	if err != nil {
		r.t.Fatalf("%v: the test's own candidate %s is broken: %v", places, candidate, err)
	}
	return r.send(string(body))
}

// notNamed returns the places that a refusal does not name.
func notNamed(refusal error, places []place) []place {
	var named []string
	if status := apierrors.APIStatus(nil); errors.As(refusal, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			named = append(named, cause.Field)
		}
	}
	return slices.DeleteFunc(slices.Clone(places), func(p place) bool { return slices.Contains(named, p.path) })
}

// place is a field or an item in a tree, with the value that it has there.
type place struct {
	path   string
	schema apiextensions.JSONSchemaProps
	value  any
	put    func(any)
}

func (p place) String() string { return p.path }

// placesOf lists the fields and items of a schema. The tree must have all of them.
func placesOf(t *testing.T, path string, schema apiextensions.JSONSchemaProps, tree any) (places []place) {
	t.Helper()
	switch node := tree.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			value, found := node[name]
			if !found {
				t.Errorf("%s.%s is missing in this test", path, name)
			}
			field := place{path + "." + name, schema.Properties[name], value, func(value any) { node[name] = value }}
			places = append(append(places, field), placesOf(t, field.path, field.schema, value)...)
		}
	case []any:
		item := place{path + "[0]", *schema.Items.Schema, node[0], func(value any) { node[0] = value }}
		places = append(append(places, item), placesOf(t, item.path, item.schema, item.value)...)
	}
	return places
}

// decoded returns JSON as the operator's client decodes it.
func decoded[T any](t *testing.T, stored []byte, object T) T {
	t.Helper()
	if err := kjson.Unmarshal(stored, object); err != nil {
		t.Fatalf("accepted, but the operator cannot decode it: %v\n%s", err, stored)
	}
	return object
}

func statusOf(t *testing.T, stored []byte) []byte {
	t.Helper()
	var object struct {
		Status json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(stored, &object); err != nil {
		t.Fatal(err)
	}
	return object.Status
}

// wantListed fails unless all objects of a resource decode, as they do for a watch.
func wantListed(t *testing.T, resource string) {
	t.Helper()
	list := map[string]client.ObjectList{
		policies: &v1.CachePolicyList{}, invalidations: &v1.CacheInvalidationList{}, stores: &v1.CacheStoreList{},
	}[resource]
	if err := cluster.List(context.Background(), list); err != nil {
		t.Fatalf("the %s do not decode: %v", resource, err)
	}
}

func putStatus(resource string, latest client.Object, spec, status string) ([]byte, error) {
	body := fmt.Sprintf(`{"apiVersion":"cachewright.io/v1","kind":%q,"metadata":{"name":%q,"resourceVersion":%q},"spec":%s,"status":%s}`,
		kinds[resource], latest.GetName(), latest.GetResourceVersion(), spec, status)
	return send(cluster.raw.Put().Name(latest.GetName()).SubResource("status"), resource, body, "Ignore")
}

func send(request *rest.Request, resource, body, fieldValidation string) ([]byte, error) {
	result := request.Namespace("default").Resource(resource).Param("fieldValidation", fieldValidation).
		SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(context.Background())
	// Raw alone would not decode the message of a refusal.
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}
