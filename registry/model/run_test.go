// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// lease is a token that the library gave, and what it stands for. It stays what it is, whatever is
// restored.
type lease struct {
	text      string
	covering  covering
	fence     int
	of        key
	number    int
	undecided bool // a policy came in between; the protocol does not say whether it fences
}

// run is one sequence, and what is known at a point of it.
type run struct {
	context.Context

	slot    *slot
	state   *state
	epochs  epochs
	leases  []lease
	fills   int64 // ever
	began   time.Time
	replica *copied // nil: none yet
	log     []string
}

// copied is what a replica had at one moment.
type copied struct {
	state  *state
	dump   dump
	leases int // that were given by then
}

// violation is what the protocol forbids.
type violation struct{ text string }

// inTime is how long a sequence may take: heads last for five seconds and more without a load, and
// what comes later shows nothing.
const inTime = 4 * time.Second

// runSequence runs a sequence on a slot of its own. An error is what the protocol forbids, or a
// failure of Redis.
func runSequence(ctx context.Context, servers [2]*redis.Client, library string, steps []step) (err error) {
	r := &run{
		Context: ctx, state: newState(), began: time.Now(),
		slot: &slot{servers: servers, library: library, key: fmt.Sprintf("cw:{model/%x}", rand.Uint64())},
	}
	defer func() {
		for _, client := range servers {
			_ = r.slot.clear(context.WithoutCancel(ctx), client)
		}
		if v, violated := recover().(violation); violated {
			err = fmt.Errorf("%s\nafter\n%s", v.text, strings.Join(r.log, "\n"))
		}
	}()
	r.do(step{Do: "apply", Policy: policy{Default: 60_000}})
	for _, s := range steps {
		if time.Since(r.began) > inTime {
			return nil
		}
		r.do(s)
	}
	r.end()
	return nil
}

func (r *run) do(s step) {
	r.log = append(r.log, s.String())
	actions[s.Do](r, s)
	r.wantMarks()
}

var actions map[string]func(*run, step)

func init() {
	actions = map[string]func(*run, step){
		"get": (*run).get, "set": (*run).set, "fill": (*run).fill, "put": (*run).put, "fill many": (*run).fillMany, "read": (*run).read,
		"unlock": (*run).unlock, "delete": (*run).remove, "invalidate": (*run).invalidate, "reclaim": (*run).reclaim,
		"apply": (*run).apply, "delete the policy": (*run).deletePolicy, "look at the policy": (*run).lookAtPolicy,
		"report": (*run).report, "stats": (*run).stats, "evict": (*run).evict, "sync": (*run).sync, "fail over": (*run).failOver,
		"reload": (*run).reload, "hold": (*run).hold, "release": (*run).release, "wait": (*run).wait, "say nonsense": (*run).sayNonsense,
	}
}

// fail ends the sequence: the protocol forbids what was seen.
func (r *run) fail(format string, args ...any) { panic(violation{fmt.Sprintf(format, args...)}) }

func (r *run) must(err error) {
	if err != nil {
		r.fail("%v", err)
	}
}

func (r *run) tell(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf("    "+format, args...))
}

// call calls a function, which must not fail.
func (r *run) call(name string, args ...any) (any, span) {
	reply, during, err := r.slot.call(r, name, args...)
	if err != nil {
		r.fail("%s %.200q: %v", name, args, err)
	}
	r.tell("%s %.200q: %.200q", name, args, fmt.Sprint(reply))
	return reply, during
}

func (r *run) number(name string, args ...any) (int64, span) {
	reply, during := r.call(name, args...)
	n, ok := reply.(int64)
	if !ok {
		r.fail("%s answers %v, not a number", name, reply)
	}
	return n, during
}

var documentedKey = regexp.MustCompile(
	"(?s)^:(m|[ouilar]:.*|[el]:[0-9]+:.*|policy|counters|pending|h|iu:.*|d:.*)$")

// end reclaims all, counts and reads once more, and looks at what is left.
func (r *run) end() {
	r.tell("the end")
	r.reclaimAll()
	r.wantMarks()
	r.stats(step{})
	for k := range r.state.entries {
		r.read(step{Key: k})
	}
	names, err := r.slot.keys(r, r.slot.client(), "*")
	r.must(err)
	lives := make([]*redis.DurationCmd, len(names))
	_, err = r.slot.client().Pipelined(r, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			lives[i] = pipe.PTTL(r, name)
		}
		return nil
	})
	r.must(err)
	entries := map[string]key{}
	for k := range r.state.entries {
		entries[r.slot.entryKey(k)] = k
	}
	for p := range r.state.marks {
		entries[r.slot.entryKey(p.of)] = p.of
	}
	now := span{time.Now().UnixMilli() - 1000, time.Now().UnixMilli()}
	for i, name := range names {
		rest := strings.TrimPrefix(name, r.slot.key)
		if !documentedKey.MatchString(rest) {
			r.fail("it left the key %q", rest)
		}
		if forever := rest == ":policy" || rest == ":counters"; !forever && lives[i].Val() == -1 {
			r.fail("%q never expires", rest)
		}
		_, possible := r.state.presence(entries[name], now)
		_, marked := r.state.marks[place{"e", entries[name]}]
		if strings.HasPrefix(rest, ":e:") && !possible && !marked && !r.state.undecided.counts {
			r.fail("%q is not live, and was not reclaimed", rest)
		}
	}
}
