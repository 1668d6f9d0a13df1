// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// The headline replays an application that reads, writes, and caches for seconds. The share of
// writes is chosen so that a cache that each write clears has 23 % hits.
const (
	headlineSeed   = 14
	headlineWrites = 0.0205
	headlineUsers  = 100
	headlinePosts  = 100
	headlinePages  = 10
)

// headlineTTLs are those of the modules, beside a replay of six seconds.
var headlineTTLs = map[string]time.Duration{
	"auth": 1500 * time.Millisecond, "posts": 2500 * time.Millisecond,
	"users": 3500 * time.Millisecond,
}

var (
	ofUsers = []string{"profile", "settings", "badge"}
	ofAuth  = []string{"session", "permissions"}
)

// item is what an application reads and caches.
type item struct{ module, operation, user, id string }

func (i item) plainKey() string {
	return "app:" + i.module + ":" + i.operation + ":" + i.user + ":" + i.id
}

func (i item) key() cache.Key {
	return cache.Key{Module: i.module, Operation: i.operation, User: i.user, Params: i.id}
}

func userItem(module, operation string, n int) item {
	return item{module: module, operation: operation, user: "user-" + strconv.Itoa(n)}
}

func postItem(n int) item { return item{module: "posts", operation: "get", id: strconv.Itoa(n)} }

func pageItem(n int) item { return item{module: "posts", operation: "page", id: strconv.Itoa(n)} }

// change is a write to the source.
type change struct {
	// affected are the items that have another value from now on.
	affected []item
	// invalidate is what an application calls that knows what it changed.
	invalidate func(ctx context.Context, c *cache.Client) error
}

// changeOfProfile changes all that module users says about a user.
func changeOfProfile(n int) *change {
	w := &change{invalidate: func(ctx context.Context, c *cache.Client) error {
		return c.InvalidateUser(ctx, userItem("", "", n).user, "users")
	}}
	for _, operation := range ofUsers {
		w.affected = append(w.affected, userItem("users", operation, n))
	}
	return w
}

// changeOfRole changes the permissions. The application invalidates the session, too, which is one
// entry more than it needs to.
func changeOfRole(n int) *change {
	return &change{
		affected: []item{userItem("auth", "permissions", n)},
		invalidate: func(ctx context.Context, c *cache.Client) error {
			return c.InvalidateUser(ctx, userItem("", "", n).user, "auth")
		},
	}
}

// changeOfPost changes a post and the page that shows it.
func changeOfPost(n int) *change {
	post, page := postItem(n), pageItem(n%headlinePages)
	return &change{
		affected: []item{post, page},
		invalidate: func(ctx context.Context, c *cache.Client) error {
			return deleteMany(ctx, c, post.key(), page.key())
		},
	}
}

// newPost moves the posts of all pages.
func newPost() *change {
	w := &change{invalidate: func(ctx context.Context, c *cache.Client) error {
		return c.InvalidateOperation(ctx, "posts", "page")
	}}
	for n := range headlinePages {
		w.affected = append(w.affected, pageItem(n))
	}
	return w
}

// event is a read, or a write if there is a change.
type event struct {
	read  item
	write *change
}

// headlineEvents returns the same events at each call. Some users and posts are far more popular
// than others.
func headlineEvents(count int) []event {
	random := rand.New(rand.NewPCG(headlineSeed, headlineSeed))
	popular := rand.NewZipf(random, 1.3, 3, headlineUsers-1)
	events := make([]event, count)
	for i := range events {
		n := int(popular.Uint64()) //nolint:gosec // below headlineUsers
		if random.Float64() < headlineWrites {
			events[i].write = someChange(random)
		} else {
			events[i].read = someItem(random, n)
		}
	}
	return events
}

func someItem(random *rand.Rand, n int) item {
	switch part := random.IntN(100); {
	case part < 40:
		return userItem("users", ofUsers[random.IntN(len(ofUsers))], n)
	case part < 65:
		return userItem("auth", ofAuth[random.IntN(len(ofAuth))], n)
	case part < 90:
		return postItem(n % headlinePosts)
	default:
		return pageItem(n % headlinePages)
	}
}

// someChange picks who or what is changed evenly, as the popular are not those who write most.
func someChange(random *rand.Rand) *change {
	switch part := random.IntN(100); {
	case part < 40:
		return changeOfProfile(random.IntN(headlineUsers))
	case part < 60:
		return changeOfRole(random.IntN(headlineUsers))
	case part < 90:
		return changeOfPost(random.IntN(headlinePosts))
	default:
		return newPost()
	}
}

// source counts the changes of each item. Values begin with that number.
type source struct {
	versions map[item]int
	payload  []byte
}

const versionDigits = 12

func (s *source) value(i item) []byte {
	return append(fmt.Appendf(nil, "%0*d", versionDigits, s.versions[i]), s.payload...)
}

// check refuses a value from before a change, because hits that are wrong are none.
func (s *source) check(i item, value []byte) error {
	version, err := strconv.Atoi(string(value[:min(versionDigits, len(value))]))
	if err != nil || version != s.versions[i] {
		return fmt.Errorf("%s is out of date: version %d instead of %d", i.plainKey(), version,
			s.versions[i])
	}
	return nil
}

// replayed counts what the reads over one way meet.
type replayed struct {
	way
	reads, loads int
	// needless loads are of items that had been cached, have not changed, and would not have expired:
	// a false invalidation took them away.
	needless int
	filled   map[item]filling
}

type filling struct {
	version int
	until   time.Time
}

func (r *replayed) hitPercent() float64 {
	return tenths(100 * float64(r.reads-r.loads) / float64(r.reads))
}

func (r *replayed) step(ctx context.Context, e event, from *source) error {
	if e.write != nil {
		return r.clear(ctx, e.write)
	}
	r.reads++
	value, err := r.fetch(ctx, e.read, func() []byte { return r.load(e.read, from) })
	if err != nil {
		return err
	}
	return from.check(e.read, value)
}

func (r *replayed) load(i item, from *source) []byte {
	r.loads++
	now, version := time.Now(), from.versions[i]
	if before, ok := r.filled[i]; ok && before.version == version && now.Before(before.until) {
		r.needless++
	}
	r.filled[i] = filling{version, now.Add(headlineTTLs[i.module])}
	return from.value(i)
}

// replay runs the events over all ways, one after the other, and one event each pace.
func replay(
	ctx context.Context, events []event, pace time.Duration, from *source, over []*replayed,
) error {
	began := time.Now()
	for n, e := range events {
		time.Sleep(time.Until(began.Add(time.Duration(n) * pace)))
		if e.write != nil {
			for _, i := range e.write.affected {
				from.versions[i]++
			}
		}
		for _, r := range over {
			if err := r.step(ctx, e, from); err != nil {
				return fmt.Errorf("event %d: %w", n, err)
			}
		}
	}
	return nil
}
