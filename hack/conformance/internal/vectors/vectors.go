// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vectors reads docs/protocol-vectors.json, and compares replies with it.
package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
)

// File is docs/protocol-vectors.json. What other tests read of it is left out.
type File struct {
	Protocol int
	Keys     []Keys
	Entries  []Entry
	IDs      []ID
	Tokens   []TokenPair
	Calls    []Script
	Refusals []Refusal
}

// Keys are those of one MGET.
type Keys struct {
	Name, Namespace, Module string
	Operation, User, ID     driver.Bytes
	MGet                    []driver.Bytes
}

// Entry is a value under some heads, and what a reader makes of it.
type Entry struct {
	Name                string
	Value               *driver.Bytes
	Heads               []*driver.Bytes
	Schema              string
	Live                bool
	SoftStale, Negative bool
	Payload             driver.Bytes
	FreshUntilMs        int64
}

// TokenPair is two tokens of one entry. Same: they were leased under the same heads.
type TokenPair struct {
	Name, One, Other string
	Same             bool
}

// Script is a conversation on an empty slot.
type Script struct {
	Name  string
	Steps []Step
}

// Step is a call, and what it replies.
type Step struct {
	Call  string
	Key   string // of a call that is not on the slot
	Args  []any
	Reply any
	Map   map[string]json.Number // figures of a reply that is a flat map
}

// Refusal is a call that must fail. Without Keys, it is on the slot.
type Refusal struct {
	Call string
	Keys *[]string
	Args []string
}

// Slot is the key of the calls that name no other.
const Slot = "cw:{vectors/m}"

// Read reads the file.
func Read(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the vectors: %w", err)
	}
	var file File
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("reading the vectors in %s: %w", path, err)
	}
	if file.Protocol != 1 || len(file.Keys) == 0 || len(file.Entries) == 0 || len(file.Calls) == 0 {
		return nil, fmt.Errorf("%s does not have the vectors of version 1 of the protocol", path)
	}
	return &file, nil
}

// ID is that of params in JSON. It is empty if a client must refuse them.
type ID struct{ Name, JSON, ID string }
