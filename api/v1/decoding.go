// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	"encoding/json"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "k8s.io/apimachinery/pkg/util/json"
)

// An object that does not decode stops the watch of all objects of its kind, in all namespaces. The
// schema refuses times that Go cannot read, but the API server does not validate objects again that
// it stored with an older schema. So the status of each kind always decodes: a time that cannot be
// read becomes the Unix epoch.

// UnmarshalJSON decodes a status. Times that Go cannot read become the Unix epoch.
func (s *CachePolicyStatus) UnmarshalJSON(data []byte) error {
	type plain CachePolicyStatus
	return unmarshalStatus(data, (*plain)(s))
}

// UnmarshalJSON decodes a status. Times that Go cannot read become the Unix epoch.
func (s *CacheInvalidationStatus) UnmarshalJSON(data []byte) error {
	type plain CacheInvalidationStatus
	return unmarshalStatus(data, (*plain)(s))
}

// UnmarshalJSON decodes a status. Times that Go cannot read become the Unix epoch.
func (s *CacheStoreStatus) UnmarshalJSON(data []byte) error {
	type plain CacheStoreStatus
	return unmarshalStatus(data, (*plain)(s))
}

// unmarshalStatus decodes a status. If that fails, it decodes the status with corrected times.
func unmarshalStatus(data []byte, status any) error {
	err := kjson.Unmarshal(data, status)
	if err == nil {
		return nil
	}
	var fields map[string]any
	if kjson.Unmarshal(data, &fields) != nil {
		return err
	}
	correctTimes(fields)
	corrected, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return kjson.Unmarshal(corrected, status)
}

// correctTimes rewrites each field with the name of a time, so that metav1.Time and
// metav1.MicroTime can read it.
func correctTimes(value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			if strings.HasSuffix(name, "Time") {
				v[name] = correctTime(field)
			} else {
				correctTimes(field)
			}
		}
	case []any:
		for _, item := range v {
			correctTimes(item)
		}
	}
}

func correctTime(value any) any {
	if value == nil {
		return nil
	}
	text, _ := value.(string)
	at, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil {
		at = time.Unix(0, 0)
	}
	return at.UTC().Format(metav1.RFC3339Micro)
}
