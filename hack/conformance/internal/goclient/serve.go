// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package goclient is the driver of the Go client. It answers requests by package cache, and by
// package registry where cache has no such function.
package goclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

// request has the fields of all requests.
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
	Params              *string
	Payload             *driver.Bytes
	Error               string
	TTLMs               int64
	Soft                bool
	Ms                  int64
	Things              []request

	Value    *driver.Bytes
	Heads    []*driver.Bytes
	Function string
	Keys     []driver.Bytes
	Args     []driver.Bytes
}

// answer has the fields of an answer, and n.
type answer = map[string]any

// client is what the driver has opened, and what is under way.
type client struct {
	redis    redis.UniversalClient // nil: nothing was opened
	registry *registry.Registry
	cache    *cache.Client
	slot     func(module string) registry.Slot
	held     cache.Hold

	ctx    context.Context // of the loads of this client
	cancel context.CancelFunc
	loads  chan *load   // loads that wait for the runner
	load   *load        // the one that the runner knows of
	result chan fetched // of the fetch that is under way
}

// Serve answers requests until there are no more.
func Serve(ctx context.Context, requests io.Reader, answers io.Writer) error {
	c := &client{cancel: func() {}}
	defer func() { _ = c.close() }()
	lines := bufio.NewScanner(requests)
	lines.Buffer(nil, driver.MaxLine)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		line, err := json.Marshal(c.answer(ctx, r))
		if err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
		if _, err := answers.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (c *client) answer(ctx context.Context, r request) answer {
	said, err := c.do(ctx, r)
	if said == nil {
		said = answer{}
	}
	var unsupported driver.Unsupported
	if errors.As(err, &unsupported) {
		said = answer{"unsupported": string(unsupported)}
	} else if err != nil {
		said = answer{"error": err.Error()}
	}
	said["n"] = r.N
	return said
}

func (c *client) do(ctx context.Context, r request) (answer, error) {
	switch r.Do {
	case "keys":
		return keysOf(ctx, r)
	case "decode":
		return decode(ctx, r)
	case "id":
		id, err := cache.ID(json.RawMessage(*r.Params))
		return answer{"id": driver.Bytes(id)}, err
	case "open":
		return nil, c.open(ctx, r)
	}
	function := functions[r.Do]
	if function == nil {
		return nil, driver.Unsupported("no Go package has this: " + r.Do)
	}
	if c.redis == nil {
		return nil, errors.New("nothing was opened")
	}
	return function(c, ctx, r)
}

// functions need a client that is open.
var functions = map[string]func(*client, context.Context, request) (answer, error){
	"call":       (*client).call,
	"fetch":      func(c *client, _ context.Context, r request) (answer, error) { return c.fetch(r) },
	"loaded":     (*client).loaded,
	"waiting":    silent((*client).waiting),
	"put":        silent((*client).put),
	"delete":     silent((*client).delete),
	"invalidate": silent((*client).invalidate),
	"hold":       silent((*client).hold),
	"release":    silent((*client).release),
}

// silent makes a function of one that has no answer.
func silent(
	do func(*client, context.Context, request) error,
) func(*client, context.Context, request) (answer, error) {
	return func(c *client, ctx context.Context, r request) (answer, error) {
		return nil, do(c, ctx, r)
	}
}
