// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// runScript runs a module in Node with JSON as its input, and decodes the JSON that it writes.
func runScript(t *testing.T, script string, input, output any, environment ...string) {
	t.Helper()
	prepareNode(t)
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "--input-type=module", "--eval", script)
	node.Env = append(os.Environ(), environment...)
	node.Stdin, node.Stderr = bytes.NewReader(text), os.Stderr
	written, err := node.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(written, output); err != nil {
		t.Fatalf("%v: %s", err, written)
	}
}

// sameParams is how Go, Node and JSON write the same params.
type sameParams struct {
	inGo       any
	JavaScript string
	JSON       string
}

// write writes params in JSON, and as a program in JavaScript would name them.
func write(t *testing.T, inGo any) sameParams {
	t.Helper()
	text, err := json.Marshal(inGo)
	if err != nil {
		t.Fatal(err)
	}
	return sameParams{inGo: inGo, JavaScript: javaScript(t, inGo), JSON: string(text)}
}

const safeInteger = 1<<53 - 1

func javaScript(t *testing.T, value any) string {
	t.Helper()
	var text string
	switch v := value.(type) {
	case int64:
		text = strconv.FormatInt(v, 10)
		if v > safeInteger || v < -safeInteger {
			text += "n"
		}
	case uint64:
		text = strconv.FormatUint(v, 10) + "n"
	case float64:
		if v == math.Trunc(v) && math.Abs(v) > safeInteger && math.Abs(v) < 1e21 {
			return strconv.FormatFloat(v, 'f', -1, 64) + "n"
		}
		text = strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		for _, element := range v {
			text += javaScript(t, element) + ","
		}
		return "[" + text + "]"
	case map[string]any:
		for name, field := range v {
			text += "[" + javaScript(t, name) + "]:" + javaScript(t, field) + ","
		}
		return "({" + text + "})"
	default:
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	return text
}

// anyParams draws params: nested lists and objects of numbers and of text in all scripts.
func anyParams() *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(),
		rapid.Map(rapid.String(), func(s string) any { return "\x00" + s }),
		rapid.Int64().AsAny(), rapid.Uint64().AsAny(), rapid.Int64Range(-1<<54, 1<<54).AsAny(),
		rapid.Float64().AsAny(), rapid.Float64Range(-1e22, 1e22).AsAny(),
		rapid.Map(rapid.Float64Range(-1e22, 1e22), func(f float64) any { return math.Round(f) }),
	)
	var nested func(depth int) *rapid.Generator[any]
	nested = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return scalar
		}
		return rapid.OneOf(scalar, rapid.SliceOfN(nested(depth-1), 0, 4).AsAny(),
			rapid.MapOfN(rapid.String(), nested(depth-1), 0, 4).AsAny())
	}
	return nested(3)
}

// The ids that Node makes of params, and of their JSON, are those of package cache.
func TestPropertyNodeMakesTheIDsOfGo(t *testing.T) {
	drawn := make([]sameParams, 3000)
	generator := anyParams()
	for i := range drawn {
		drawn[i] = write(t, generator.Example(i))
	}
	var ids []struct{ Value, JSON string }
	runScript(t, `
		import { readFileSync } from 'node:fs';
		import { idOf, idOfJSON } from './cachewright.mjs';
		const drawn = JSON.parse(readFileSync(0));
		console.log(JSON.stringify(drawn.map(({ JavaScript, JSON: text }) => ({
			Value: idOf(new Function('return ' + JavaScript)()), JSON: idOfJSON(text),
		}))));`, drawn, &ids)
	for i, p := range drawn {
		if want, err := cache.ID(p.inGo); err != nil || ids[i].Value != want || ids[i].JSON != want {
			t.Errorf("the id of %s: Node makes %s, of its JSON %s, Go %s (%v)",
				p.JSON, ids[i].Value, ids[i].JSON, want, err)
		}
	}
}

// The clients of both languages find under one key of params what the other one stored.
func TestNodeAndGoShareEntriesOfParams(t *testing.T) {
	prepareNode(t)
	server := redistest.Start(t)
	policy := registry.Policy{DefaultTTL: new(registry.MaxHold)}
	if _, err := registry.New(server.Client()).ApplyPolicy(t.Context(), users, policy); err != nil {
		t.Fatal(err)
	}
	connection := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = connection.Close() })
	client, err := cache.New(connection, users.Namespace, cache.WithTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })

	shared := []sameParams{
		write(t, nil), write(t, int64(42)), write(t, int64(math.MaxInt64)), write(t, -1.5e-9), write(t, 1e21),
		write(t, "Привет, 世界, مرحبا, नमस्ते 😀"), write(t, "\x00nul"),
		write(t, []any{int64(1), "a", nil, []any{false}}),
		write(t, map[string]any{
			"page": int64(2), "": nil, "€": uint64(math.MaxUint64), "😀": 0.1, "\ufb33": "é",
			"filter": map[string]any{"z": []any{}, "10": map[string]any{}, "9": "\u2028"},
		}),
	}
	key := func(operation string, p sameParams) cache.Key {
		return cache.Key{Module: users.Module, Operation: operation, Params: p.inGo}
	}
	for i, p := range shared {
		stored, err := cache.Fetch(t.Context(), client, key("by Go", p), func(context.Context) (string, error) {
			return fmt.Sprint("of Go ", i), nil
		})
		if err != nil || stored != fmt.Sprint("of Go ", i) {
			t.Fatalf("%s: %q (%v): its id is another's", p.JSON, stored, err)
		}
	}
	var found []string
	runScript(t, `
		import { readFileSync } from 'node:fs';
		import Redis from 'ioredis';
		import { Cachewright, idOf } from './cachewright.mjs';
		const redis = new Redis(process.env.REDIS_URL);
		const cache = new Cachewright(redis, 'shop', { timeoutMs: 10000 });
		const found = [];
		for (const [i, { JavaScript }] of JSON.parse(readFileSync(0)).entries()) {
			const id = idOf(new Function('return ' + JavaScript)());
			const ofGo = await cache.fetch({ module: 'users', operation: 'by Go', id }, () => 'null');
			const own = await cache.fetch({ module: 'users', operation: 'by Node', id }, () => JSON.stringify('of Node ' + i));
			found.push(ofGo.from + ' ' + own.from + ' ' + ofGo.payload);
		}
		console.log(JSON.stringify(found));
		redis.disconnect();`, shared, &found, "REDIS_URL=redis://"+server.Addr())
	for i, p := range shared {
		if want := fmt.Sprintf("cache stored \"of Go %d\"", i); found[i] != want {
			t.Errorf("%s: Node found %q, want %q", p.JSON, found[i], want)
		}
		of, err := cache.Fetch(t.Context(), client, key("by Node", p), func(context.Context) (string, error) {
			return "", fmt.Errorf("nothing is there")
		})
		if want := fmt.Sprint("of Node ", i); err != nil || of != want {
			t.Errorf("%s: Go found %q (%v), want %q", p.JSON, of, err, want)
		}
	}
}
