// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
	"github.com/cachewright/cachewright/registry/internal/wire"
)

// Options of a fill. Its fields are those of registry.FillOptions.
type Options struct {
	Negative bool
	TTL      time.Duration
}

// Words that begin the options of a call.
var (
	withRoom    = map[bool]string{false: "room", true: "negative room"}
	withoutRoom = map[bool]string{false: "", true: "negative"}
)

// Set stores a payload unless an invalidation has covered the entry since the token was taken.
func (e *Entries) Set(
	ctx context.Context, key keyspace.Key, payload []byte, token parse.Token, options Options,
) (parse.Filled, error) {
	sent, err := e.padded(key, payload, len(token)+headerOverToken)
	if err != nil {
		return parse.Filled{}, err
	}
	defer e.release(sent)
	return e.fill(ctx, "cw_set", key, setArgs(key, *sent, token, options)...)
}

// setArgs returns the arguments of cw_set. sent is the padded payload.
func setArgs(key keyspace.Key, sent []byte, token parse.Token, options Options) []any {
	words := options.after(withRoom[options.Negative], key.Schema, token.Unleased())
	return append(addressArgs(key), sent, token.Sent(), words)
}

// Put stores a payload in place of what is there, and fences loads of the entry that are in
// progress.
func (e *Entries) Put(
	ctx context.Context, key keyspace.Key, payload []byte, options Options,
) (parse.Filled, error) {
	sent, err := e.padded(key, payload, 0)
	if err != nil {
		return parse.Filled{}, err
	}
	defer e.release(sent)
	words := options.after(withoutRoom[options.Negative], key.Schema, false)
	return e.fill(ctx, "cw_put", key, append(addressArgs(key), *sent, words)...)
}

// padded copies a payload behind its schema, and behind so many bytes for its header.
func (e *Entries) padded(key keyspace.Key, payload []byte, padding int) (*[]byte, error) {
	if len(key.Schema) > wire.MaxSchema { // the library would take the rest for the payload
		return nil, fmt.Errorf("a fill of %s: %w: the schema has %d bytes, at most %d",
			key.Slot, fault.ErrRejected, len(key.Schema), wire.MaxSchema)
	}
	return padded(payload, key.Schema, padding), nil
}

// release returns a copy, unless it may still be read after the call was given up.
func (e *Entries) release(sent *[]byte) {
	if e.transport.pipeline == nil {
		release(sent)
	}
}

func (e *Entries) fill(
	ctx context.Context, function string, key keyspace.Key, args ...any,
) (parse.Filled, error) {
	reply, err := e.callTogether(ctx, function, key.Slot, args...)
	if err != nil {
		return parse.Filled{}, err
	}
	return filledOf(function, key, reply)
}

func filledOf(function string, key keyspace.Key, reply any) (parse.Filled, error) {
	filled, ok := parse.FilledOf(reply)
	if !ok {
		return parse.Filled{}, sloterr.Unexpected(function, key.Slot, reply)
	}
	return filled, nil
}

// after returns the argument that begins with these words. Without a lease, the library does what
// that would have done.
func (o Options) after(words, schema string, unleased bool) string {
	if schema != "" {
		words += " schema"
	}
	if unleased {
		words += " heads"
	}
	if o.TTL != 0 { // rounded down: it is the longest that the caller wants
		words += " ttl " + strconv.FormatInt(max(0, o.TTL.Milliseconds()), 10)
	}
	return strings.TrimPrefix(words, " ")
}
