// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/vectors"
	"github.com/cachewright/cachewright/registry"
)

// Cases of raw calls: do the client's arguments and replies survive its connection?

// call makes a raw call by the client.
func (s *scene) call(function string, keys, args []driver.Bytes) (any, error) {
	s.open(options{admin: true})
	var got struct{ Reply any }
	fields := driver.Fields{"function": function, "keys": keys, "args": args}
	err := s.try("call", fields, &got)
	return got.Reply, err
}

func scriptCases(all []vectors.Script) []Case {
	cases := []Case{optional("calls", "bytes of any value", (*scene).callsWithAnyBytes)}
	for _, vector := range all {
		cases = append(cases, Case{Part: "calls", Name: vector.Name, play: func(s *scene) {
			s.must(s.Stage.Clear(s.ctx, "cw:{vectors"))
			tokens := vectors.Tokens{}
			for i, step := range vector.Steps {
				where := fmt.Sprintf("step %d, %s %.300q", i, step.Call, step.Args)
				args, err := tokens.Arguments(step)
				s.must(err)
				key := driver.Bytes(cmp.Or(step.Key, vectors.Slot))
				reply, err := s.call(step.Call, []driver.Bytes{key}, args)
				if err != nil {
					s.fail("%s: %w", where, err)
				}
				if err := tokens.Compare(step, reply); err != nil {
					s.fail("%s: %w", where, err)
				}
			}
		}})
	}
	return cases
}

// callsWithAnyBytes stores and reads an entry whose names and payload are no text.
func (s *scene) callsWithAnyBytes() {
	key := driver.Bytes(slotKey(s.module()))
	ask := func(function string, args ...driver.Bytes) []any {
		reply, err := s.call(function, []driver.Bytes{key}, args)
		if err != nil {
			s.fail("%s: %w", function, err)
		}
		list, _ := reply.([]any)
		return list
	}
	all := driver.Bytes(every())
	operation, id, user := all[:128], all, all[128:]
	miss := ask("cw_get", operation, id, user)
	tokens := vectors.Tokens{}
	step := vectors.Step{Reply: []any{json.Number("0"), map[string]any{"save": "t"}}}
	if err := tokens.Compare(step, any(miss)); err != nil {
		s.fail("cw_get: %w", err)
	}
	ask("cw_set", operation, id, user, all, tokens["t"])
	if hit := ask("cw_get", operation, id, user); len(hit) != 4 || hit[1] != fmt.Sprintf("%x", all) {
		s.fail("cw_set stored each byte once; cw_get returned %s", vectors.Readable(any(hit)))
	}
}

func refusalCases(all []vectors.Refusal) (cases []Case) {
	for i, vector := range all {
		name := fmt.Sprintf("%d, %s", i+1, vector.Call)
		cases = append(cases, Case{Part: "refusals", Name: name, play: func(s *scene) {
			s.refuses(vector)
		}})
	}
	return cases
}

// refuses makes a call that must be refused, on a slot with an entry, and change nothing.
func (s *scene) refuses(vector vectors.Refusal) {
	keys := []driver.Bytes{vectors.Slot}
	if vector.Keys != nil {
		keys = keys[:0]
		for _, key := range *vector.Keys {
			keys = append(keys, driver.Bytes(key))
		}
	}
	args := make([]driver.Bytes, len(vector.Args))
	for i, arg := range vector.Args {
		args[i] = driver.Bytes(arg)
	}
	s.prepareRefusals()
	before := s.snapshot()
	_, err := s.call(vector.Call, keys, args)
	var failed driver.Failed
	switch {
	case err != nil && !errors.As(err, &failed):
		s.fail("%w", err)
	case failed != "" && s.Stage.IsCluster && len(keys) != 1: // it may not reach a server
	case err == nil || !strings.HasPrefix(string(failed), "CACHEWRIGHT cw_"):
		s.fail("%s %q %.300q: got %v, want an error that begins with CACHEWRIGHT and the call",
			vector.Call, keys, args, err)
	}
	if !maps.Equal(before, s.snapshot()) {
		s.fail("%s %q %.300q changed Redis", vector.Call, keys, args)
	}
}

func (s *scene) snapshot() map[string]string {
	content, err := s.Stage.Snapshot(s.ctx, "cw:{vectors")
	s.must(err)
	return content
}

func (s *scene) prepareRefusals() {
	slot := registry.Slot{Namespace: "vectors", Module: "m"}
	_, err := s.Stage.Registry.ApplyPolicy(s.ctx, slot, policy())
	s.must(err)
	e := entryOf(slot, "op", "1", "")
	if s.stored(e, v("payload")) != nil {
		s.fillElsewhere(e, v("payload"))
	}
}
