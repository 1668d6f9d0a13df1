// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
)

// request has the fields of all requests that plain knows.
type request struct {
	N  int
	Do string

	Addresses          []string
	Cluster, Near      bool
	RESP               int
	Username, Password string
	Namespace, Schema  string

	Module              string
	Operation, User, ID driver.Bytes
	Params              string
	Payload             *driver.Bytes
	Error               string
	TTLMs               int64
	Soft                bool
	Ms                  int64
	Things              []request

	Value      *driver.Bytes
	Heads      []*driver.Bytes
	Tokens     []string
	Function   string
	Keys, Args []driver.Bytes
}

func (r request) name() string {
	return fmt.Sprintf("%s %q %q %q", r.Module, r.Operation, r.User, r.ID)
}

// decoded is the answer to decode.
type decoded struct {
	Live     bool   `json:"live"`
	Negative bool   `json:"negative"`
	Stale    bool   `json:"stale"`
	Payload  []byte `json:"-"`
}

// talk is a driver that does one thing at a time, as one in a language without threads. Its loader
// answers requests until one says what to return.
type talk struct {
	lines   *bufio.Scanner
	answers io.Writer
	last    int // the number of the last request
	client  *plain
	bug     string
}

func (t *talk) answer(fields map[string]any) {
	if fields == nil {
		fields = map[string]any{}
	}
	fields["n"] = t.last
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	if t.bug == "prints to standard output" {
		fmt.Fprintln(t.answers, "debug")
	}
	fmt.Fprintf(t.answers, "%s\n", line)
}

// serve answers requests until one is what it waits for, and ends the process with its input.
func (t *talk) serve(until string) request {
	for t.lines.Scan() {
		var r request
		if err := json.Unmarshal(t.lines.Bytes(), &r); err != nil {
			panic(err)
		}
		t.last = r.N
		if r.Do == until {
			return r
		}
		var unsupported driver.Unsupported
		switch fields, err := t.do(r); {
		case errors.As(err, &unsupported):
			t.answer(map[string]any{"unsupported": string(unsupported)})
		case err != nil:
			t.answer(map[string]any{"error": err.Error()})
		default:
			t.answer(fields)
		}
	}
	os.Exit(0)
	return request{}
}

func (t *talk) load() (any, error) {
	t.answer(map[string]any{"loading": true})
	switch r := t.serve("loaded"); {
	case r.Error != "":
		return nil, errors.New(r.Error)
	case r.Payload == nil:
		return nothing{}, nil
	default:
		return string(*r.Payload), nil
	}
}

func (t *talk) do(r request) (map[string]any, error) {
	p := t.client
	if t.bug == "supports nothing" {
		return nil, driver.Unsupported("nothing at all")
	}
	switch r.Do {
	case "open":
		if r.Near && t.bug != "follows no heads" {
			return nil, driver.Unsupported("there is no near cache")
		}
		t.client = openPlain(t.bug, r)
		return nil, nil
	case "keys":
		return t.keys(r)
	case "decode":
		return t.decode(r)
	case "id":
		id, err := cache.ID(json.RawMessage(r.Params))
		if t.bug == "makes shorter ids" {
			id = id[:min(20, len(id))]
		}
		return map[string]any{"id": driver.Bytes(id)}, err
	case "same":
		from := 1
		if t.bug == "compares the first byte of tokens" {
			from = 0
		}
		return map[string]any{"same": r.Tokens[0][2*from:] == r.Tokens[1][2*from:]}, nil
	case "call":
		return t.call(r)
	case "fetch":
		value, err := p.fetch(r, t.load)
		if payload, ok := value.(string); ok {
			return map[string]any{"payload": driver.Bytes(payload)}, err
		}
		return map[string]any{"payload": nil}, err
	case "waiting":
		return nil, nil
	case "put":
		return nil, p.put(r)
	case "delete":
		return nil, p.delete(r)
	case "invalidate":
		return nil, p.invalidate(r)
	case "hold":
		return nil, p.hold(r)
	case "release":
		return nil, p.release()
	case "report":
		return nil, p.report()
	default:
		return nil, driver.Unsupported("plain does not " + r.Do)
	}
}

func (t *talk) keys(r request) (map[string]any, error) {
	var keys []driver.Bytes
	for _, key := range (&plain{bug: t.bug}).keys(r) {
		keys = append(keys, driver.Bytes(key))
	}
	return map[string]any{"keys": keys}, nil
}

func (t *talk) decode(r request) (map[string]any, error) {
	text := func(b *driver.Bytes) string {
		if b == nil {
			return ""
		}
		return string(*b)
	}
	heads := make([]string, len(r.Heads))
	for i, head := range r.Heads {
		heads[i] = text(head)
	}
	d := (&plain{bug: t.bug}).decode(text(r.Value), heads, r.Schema)
	return map[string]any{
		"live": d.Live, "negative": d.Negative, "stale": d.Stale, "payload": driver.Bytes(d.Payload),
	}, nil
}

func (t *talk) call(r request) (map[string]any, error) {
	keys, args := make([]string, len(r.Keys)), make([]any, len(r.Args))
	for i, key := range r.Keys {
		keys[i] = string(key)
	}
	for i, arg := range r.Args {
		args[i] = string(arg)
		if t.bug == "sends text, not bytes" {
			args[i] = strings.ToValidUTF8(string(arg), "?")
		}
	}
	reply, err := t.client.redis.FCall(context.Background(), r.Function, keys, args...).Result()
	if errors.Is(err, redis.Nil) || t.bug == "hides errors" {
		err = nil
	}
	return map[string]any{"reply": inHex(reply)}, err
}

func inHex(reply any) any {
	switch reply := reply.(type) {
	case string:
		return driver.Bytes(reply)
	case []any:
		for i := range reply {
			reply[i] = inHex(reply[i])
		}
	}
	return reply
}
