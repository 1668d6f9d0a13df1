// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// plain is a client as somebody would write it who knows docs/clients.md and go-redis, and shares no
// code with package cache. It does one thing at a time. bug is a mistake that it makes on purpose;
// empty: none.
type plain struct {
	bug               string
	redis             redis.UniversalClient
	namespace, schema string

	generation atomic.Int64     // raised by each new connection
	fenced     map[string]int64 // in which generation a module was fenced
	hits       map[[2]string]int
	kept       map[string]any // of the bug that keeps what it read
	held       []any
}

// nothing stands for what the source has not.
type nothing struct{}

func openPlain(bug string, r request) *plain {
	p := &plain{
		bug: bug, namespace: r.Namespace, schema: r.Schema,
		fenced: map[string]int64{}, hits: map[[2]string]int{}, kept: map[string]any{},
	}
	p.redis = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: r.Addresses, IsClusterMode: r.Cluster, Protocol: r.RESP, MaxRetries: -1,
		Username: r.Username, Password: r.Password, ReadTimeout: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		OnConnect: func(context.Context, *redis.Conn) error {
			p.generation.Add(1)
			return nil
		},
	})
	return p
}

func (p *plain) is(bug string) bool { return p.bug == bug }

func (p *plain) slot(module string) string { return "cw:{" + p.namespace + "/" + module + "}" }

// call makes a call. A cluster says where a slot has gone.
func (p *plain) call(function, module string, args ...any) (any, error) {
	return p.redis.FCall(context.Background(), function, []string{p.slot(module)}, args...).Result()
}

// Fetch reads through the cache.
func (p *plain) fetch(r request, load func() (any, error)) (any, error) {
	if p.is("takes the token after the load") {
		return p.fetchTooLate(r, load)
	}
	found, err := p.lookUp(r)
	if err != nil {
		if p.is("fails with Redis") {
			return nil, err
		}
		return load()
	}
	if found.hit && (found.token == "" || p.is("never replaces a stale entry")) {
		return found.value, nil
	}
	value, err := load()
	if err != nil {
		if p.is("stores a load that failed") {
			_ = p.set(r, nothing{}, found.token)
		}
		return nil, err
	}
	if err := p.set(r, value, found.token); err != nil && p.is("fails with a fill") {
		return nil, err
	}
	return value, nil
}

func (p *plain) fetchTooLate(r request, load func() (any, error)) (any, error) {
	if found, err := p.read(r); err == nil && found.hit {
		return found.value, nil
	}
	value, err := load()
	if err != nil {
		return nil, err
	}
	if found, err := p.lease(r); err == nil {
		_ = p.set(r, value, found.token)
	}
	return value, nil
}

// found is what a look-up found.
type found struct {
	hit   bool
	value any
	token string
	wait  int64
}

// lookUp looks an entry up, in a generation in which its module is fenced.
func (p *plain) lookUp(r request) (found, error) {
	if kept, ok := p.kept[r.name()]; ok && (p.is("keeps what it read") || p.is("follows no heads")) {
		return found{hit: true, value: kept}, nil
	}
	for range 3 {
		generation := p.generation.Load()
		isFenced := p.fenced[r.Module] == generation || p.is("does not know fences") ||
			p.is("fences only what connects again") && generation == 1
		if !isFenced {
			_, err := p.call("cw_fence", r.Module)
			if isRefused := err != nil && strings.HasPrefix(err.Error(), "CACHEWRIGHT NOPERM"); err != nil &&
				(!isRefused || p.is("insists on fences")) {
				return found{}, err
			}
			p.fenced[r.Module] = generation
		}
		f, err := p.find(r)
		if err != nil {
			return found{}, err
		}
		if p.generation.Load() == generation || p.is("does not know fences") {
			p.kept[r.name()] = f.value
			return f, nil
		}
	}
	return found{}, errors.New("connections come and go")
}

// find reads by MGET, and then takes a lease. It waits for who loads the entry already.
func (p *plain) find(r request) (found, error) {
	f, err := p.read(r)
	if err != nil || f.hit {
		p.count(r)
		return f, err
	}
	waitTimeout := time.Second
	if p.is("waits for ever") {
		waitTimeout = time.Hour
	}
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(5 * time.Millisecond) {
		f, err = p.lease(r)
		if err != nil || f.hit || f.wait == 0 || time.Now().After(deadline) {
			return f, err
		}
	}
}

func (p *plain) count(r request) {
	p.hits[[2]string{r.Module, string(r.Operation)}]++
}

func (p *plain) report() error {
	for of, n := range p.hits {
		if p.is("counts nothing") {
			continue
		}
		if _, err := p.call("cw_report", of[0], of[1], "hits", n); err != nil {
			return err
		}
		if p.is("counts twice") {
			_, _ = p.call("cw_report", of[0], of[1], "hits", n)
		}
	}
	clear(p.hits)
	return nil
}

func (p *plain) keys(r request) []string {
	slot := "cw:{" + r.Namespace + "/" + r.Module + "}"
	lengths := []any{len(r.Operation), r.Operation, len(r.User), r.User, r.ID}
	if p.is("spells keys by characters") {
		lengths[0], lengths[2] = len([]rune(string(r.Operation))), len([]rune(string(r.User)))
	}
	keys := []string{
		slot + fmt.Sprintf(":e:%d:%s:%d:%s:%s", lengths...), slot + ":m", slot + ":o:" + string(r.Operation),
	}
	if r.User != "" {
		keys = append(keys, slot+":u:"+string(r.User))
	}
	return keys
}

// read is a fresh hit by MGET, or nothing.
func (p *plain) read(r request) (found, error) {
	r.Namespace = p.namespace
	values, err := p.redis.MGet(context.Background(), p.keys(r)...).Result()
	if err != nil {
		return found{}, err
	}
	value, _ := values[0].(string)
	heads := make([]string, len(values)-1)
	for i := range heads {
		heads[i], _ = values[1+i].(string)
	}
	d := p.decode(value, heads, p.schema)
	if !d.Live || d.Stale {
		return found{}, nil
	}
	return found{hit: true, value: valueOf(string(d.Payload), d.Negative)}, nil
}

func valueOf(payload string, negative bool) any {
	if negative {
		return nothing{}
	}
	return payload
}

// decode says whether an entry is live, and what is in it.
func (p *plain) decode(value string, heads []string, schema string) (d decoded) {
	const fixed, epoch = 18, 11
	if len(value) < fixed || value[0] != 1 {
		return d
	}
	flags := value[1]
	unknown := flags &^ (1 | 2 | 4 | 16 | 32 | 64)
	if unknown != 0 && !p.is("decodes unknown flags") || flags&1 != 0 != (len(heads) == 3) ||
		flags&64 != 0 && len(heads) != 3 || flags&4 != 0 != (schema != "") && !p.is("ignores schemas") {
		return d
	}
	rest := value[fixed:]
	softAt := []int{epoch, 2 * epoch, epoch}
	if p.is("takes the fence for a soft epoch") {
		softAt[1] = epoch
	}
	for i, head := range heads {
		if p.is("takes a missing head for a valid one") && head == "" {
			head = rest[:min(epoch, len(rest))] + strings.Repeat("x", softAt[i]-epoch)
		}
		if len(rest) < epoch || len(head) < epoch || head[:epoch] != rest[:epoch] ||
			len(head) != softAt[i] && len(head) != softAt[i]+epoch && !p.is("takes the fence for a soft epoch") {
			return d
		}
		heads[i], rest = head, rest[epoch:]
	}
	soft := false
	for i, head := range heads {
		mine := ""
		if flags&(16<<i) != 0 {
			if len(rest) < epoch {
				return d
			}
			mine, rest = rest[:epoch], rest[epoch:]
		}
		soft = soft || mine != head[softAt[i]:]
	}
	if flags&4 != 0 {
		if rest == "" || len(rest) <= int(rest[0]) {
			return d
		}
		name := rest[1 : 1+rest[0]]
		if name != schema && !p.is("ignores schemas") {
			return d
		}
		rest = rest[1+len(name):]
	}
	until := binary.BigEndian.Uint64([]byte(value[2:10]))
	if p.is("reads the time in the wrong order") {
		until = binary.LittleEndian.Uint64([]byte(value[2:10]))
	}
	return decoded{
		Live: true, Negative: flags&2 != 0, Payload: []byte(rest),
		Stale: soft || until <= uint64(time.Now().UnixMilli()),
	}
}

// lease is cw_get.
func (p *plain) lease(r request) (found, error) {
	reply, err := p.call("cw_get", r.Module, string(r.Operation), string(r.ID), string(r.User), 10_000, p.schema)
	if err != nil {
		return found{}, err
	}
	list := reply.([]any)
	if list[0].(int64) == 0 {
		f := found{token: list[1].(string)}
		if len(list) > 2 && f.token != "0" {
			f.wait = list[2].(int64)
		}
		return f, nil
	}
	f := found{hit: true, value: valueOf(list[1].(string), list[0].(int64) == 2)}
	if len(list) > 4 {
		f.token = list[4].(string)
	}
	return f, nil
}

// set is cw_set.
func (p *plain) set(r request, value any, token string) error {
	if token == "0" && !p.is("fills with the token 0") {
		return nil
	}
	args := p.fill(r, value)
	args = slices.Insert(args, 4, any(token))
	_, err := p.call("cw_set", r.Module, args...)
	return err
}

// fill returns the arguments of a fill but the token.
func (p *plain) fill(r request, value any) []any {
	payload, stored := value.(string)
	var options []string
	if !stored && !p.is("stores nothing as an empty payload") {
		options = append(options, "negative")
	}
	if p.schema != "" && !p.is("stores no schema") {
		options = append(options, "schema")
		payload = string(rune(len(p.schema))) + p.schema + payload
	}
	if r.TTLMs != 0 && !p.is("ignores the TTL of a fill") {
		options = append(options, fmt.Sprint("ttl ", r.TTLMs))
	}
	return []any{
		string(r.Operation), string(r.ID), p.userOf(r), payload, strings.Join(options, " "),
	}
}

func (p *plain) userOf(r request) string {
	if p.is("shares what is a user's") {
		return ""
	}
	return string(r.User)
}

// put is cw_put.
func (p *plain) put(r request) error {
	args := p.fill(r, string(*r.Payload))
	switch p.bug {
	case "writes by delete, get and set":
		if _, err := p.call("cw_delete", r.Module, args[:3]...); err != nil {
			return err
		}
		f, err := p.lease(r)
		if err == nil {
			err = p.set(r, args[3], f.token)
		}
		return err
	case "writes without a fence":
		f, err := p.lease(r)
		if err == nil {
			err = p.set(r, args[3], f.token)
		}
		return err
	}
	_, err := p.call("cw_put", r.Module, args...)
	return err
}

func (p *plain) invalidate(r request) error {
	mode, operation := "hard", string(r.Operation)
	if r.Soft {
		mode = "soft"
	}
	if p.is("invalidates the module instead of the operation") {
		operation = ""
	}
	_, err := p.call("cw_invalidate", r.Module, operation, string(r.User), mode, "")
	return err
}

func (p *plain) delete(r request) error {
	if p.is("deletes by DEL") { // which fences no load
		r.Namespace = p.namespace
		return p.redis.Del(context.Background(), p.keys(r)[0]).Err()
	}
	_, err := p.call("cw_delete", r.Module, string(r.Operation), string(r.ID), string(r.User))
	return err
}

const holdID = "a hold of plain."

func (p *plain) hold(r request) error {
	p.held = []any{holdID}
	for _, thing := range r.Things {
		kind := "s"
		if thing.ID != "" {
			kind = "e"
		}
		p.held = append(p.held, kind, string(thing.Operation), string(thing.User), string(thing.ID))
	}
	ms := r.Ms
	if p.is("holds for seconds, not milliseconds") {
		ms /= 1000
	}
	_, err := p.call("cw_hold", r.Module, slices.Insert(slices.Clone(p.held), 1, any(ms))...)
	p.held = append(p.held, r.Module)
	return err
}

func (p *plain) release() error {
	last := len(p.held) - 1
	_, err := p.call("cw_release", p.held[last].(string), p.held[:last]...)
	return err
}
