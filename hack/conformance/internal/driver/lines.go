// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
)

// Bytes are hex in JSON.
type Bytes string

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, []byte(b)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("bytes are in hex: %w", err)
	}
	*b = Bytes(raw)
	return nil
}

func encode(n int, do string, fields Fields) ([]byte, error) {
	request := maps.Clone(fields)
	if request == nil {
		request = Fields{}
	}
	request["n"], request["do"] = n, do
	line, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	if len(line) >= MaxLine {
		return nil, fmt.Errorf("the request has more than %d bytes", MaxLine)
	}
	return append(line, '\n'), nil
}

// decode reads the answer to a request with a number. said is Unsupported or Failed.
func decode(line []byte, number int, answer any) (said, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("it printed %.200q instead of an answer, which is an object in JSON", line)
	}
	var n int
	if err := json.Unmarshal(fields["n"], &n); err != nil || n != number {
		return nil, fmt.Errorf("it answered %.200q; the answer to this request has n %d", line, number)
	}
	for name, made := range map[string]func(string) error{
		"unsupported": func(text string) error { return Unsupported(text) },
		"error":       func(text string) error { return Failed(text) },
	} {
		if fields[name] == nil {
			continue
		}
		var text string
		if err := json.Unmarshal(fields[name], &text); err != nil {
			return nil, fmt.Errorf("it answered %.200q; %s is a text", line, name)
		}
		return made(text), nil
	}
	delete(fields, "n")
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	strict := json.NewDecoder(bytes.NewReader(rest))
	strict.DisallowUnknownFields()
	strict.UseNumber()
	if err := strict.Decode(answer); err != nil {
		return nil, fmt.Errorf("it answered %.200q, which is no answer to that: %w", line, err)
	}
	return nil, nil
}
