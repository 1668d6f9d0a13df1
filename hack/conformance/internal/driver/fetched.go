// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Fetched is the answer to fetch and to loaded.
type Fetched struct {
	// Loading: the loader was called, and waits.
	Loading bool
	// Payload is hex, or null for what the source has not. None: the answer has no result.
	Payload json.RawMessage
}

// Value returns the payload, nil for what the source has not.
func (f Fetched) Value() (*Bytes, error) {
	if bytes.Equal(f.Payload, []byte("null")) {
		return nil, nil
	}
	var payload Bytes
	if err := json.Unmarshal(f.Payload, &payload); err != nil {
		return nil, fmt.Errorf("the answer has neither loading nor a payload in hex, nor null: %w", err)
	}
	return &payload, nil
}

// Is says whether the answer is a payload.
func (f Fetched) Is(want *Bytes) bool {
	got, err := f.Value()
	if f.Loading || err != nil || (got == nil) != (want == nil) {
		return false
	}
	return got == nil || *got == *want
}

// String shows the answer to people.
func (f Fetched) String() string {
	switch got, err := f.Value(); {
	case f.Loading:
		return "called the loader"
	case len(f.Payload) == 0:
		return "answered without a payload"
	case err != nil:
		return err.Error()
	default:
		return "served " + Show(got)
	}
}

// Show shows a payload to people.
func Show(payload *Bytes) string {
	if payload == nil {
		return "nothing"
	}
	return fmt.Sprintf("%.100q", string(*payload))
}
