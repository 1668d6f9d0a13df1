// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package unclaimed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const interval = 10 * time.Second

// world is a Redis, and what an application sees of its log and its hook.
type world struct {
	*Names
	t *testing.T

	policies map[string]registry.Policy
	modules  []string // nil: Redis has no list
	failure  error
	refusal  error // of reports
	cached   bool

	asked    int
	reports  int
	reported map[name]counts
	log      bytes.Buffer
	hooked   []string
	panicked []any
}

// inWorld runs a test with a clock of its own.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, policies: map[string]registry.Policy{}, reported: map[name]counts{}}
		w.Names = New(Config{
			Namespace: "shop", Redis: w, Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
			Hook: func(_, _ string, err error) {
				if !errors.Is(err, ErrUnclaimed) {
					t.Errorf("the hook gets %v", err)
				}
				w.hooked = append(w.hooked, err.Error())
			},
			Cached:   func() bool { return w.cached },
			Panicked: func(value any) { w.panicked = append(w.panicked, value) },
		})
		test(w)
	})
}

func (w *world) FindPolicy(_ context.Context, module string) (registry.Policy, bool, error) {
	w.asked++
	policy, found := w.policies[module]
	return policy, found && w.failure == nil, w.failure
}

func (w *world) ListModules(context.Context) ([]string, error) {
	w.asked++
	if w.failure == nil && w.modules == nil {
		return nil, registry.ErrModulesUnknown
	}
	return w.modules, w.failure
}

func (w *world) ReportUnclaimed(_ context.Context, names []registry.Unclaimed) error {
	w.reports++
	if len(names) > registry.MaxUnclaimed {
		w.t.Errorf("%d names are reported at once", len(names))
	}
	if err := errors.Join(w.failure, w.refusal); err != nil {
		return err
	}
	for _, n := range names {
		of := name{n.Module, n.Operation}
		sum := w.reported[of]
		sum.add(counts{n.Reads, n.Invalidations})
		w.reported[of] = sum
	}
	return nil
}

// later flushes as often as it is done in that time.
func (w *world) later(d time.Duration) {
	for range d / interval {
		time.Sleep(interval)
		w.Flush(w.t.Context())
	}
}

func (w *world) wantHooked(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.hooked, want) {
		w.t.Errorf("the hook got %q, want %q", w.hooked, want)
	}
	for _, sentence := range want {
		if text := w.log.String(); strings.Count(text, strings.ReplaceAll(sentence, `"`, `\"`)) != 1 {
			w.t.Errorf("the log says %s, want %s once", text, sentence)
		}
	}
	if lines := strings.Count(w.log.String(), "\n"); lines != len(want) {
		w.t.Errorf("the log has %d lines: %s", lines, w.log.String())
	}
}

func (w *world) wantReported(module, operation string, reads, invalidations int64) {
	w.t.Helper()
	if got := w.reported[name{module, operation}]; got != (counts{reads, invalidations}) {
		w.t.Errorf("of %s %s: got %+v, want %d and %d", module, operation, got, reads, invalidations)
	}
}

func TestAMisspeltModuleIsToldOnceAndReported(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"auth", "posts", "users"}
		for range 3 {
			w.Read("user", "list")
			w.Read("user", "getById")
			w.Invalidated("user", "")
			w.later(interval)
		}
		w.wantHooked(`module "user" of namespace "shop" has no CachePolicy: nothing is cached. Policies there: auth, posts, users`)
		w.wantReported("user", "", 6, 3)
		if len(w.reported) != 1 {
			w.t.Errorf("reported %v", w.reported)
		}
	})
}

func TestAMisspeltOperationIsToldOnceAndReported(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"users"}
		w.policies["users"] = registry.Policy{Operations: []registry.OperationPolicy{{Name: "list", TTL: time.Minute}, {Name: "getById"}}}
		w.Read("users", "lst")
		w.Read("users", "getById") // its TTL is 0
		w.Invalidated("users", "list")
		w.Invalidated("users", "")
		w.later(interval)
		w.Read("users", "lst")
		w.Invalidated("users", "lst")
		w.later(interval)
		w.wantHooked(`operation "lst" of module "users" of namespace "shop" is not in the CachePolicy, which has no defaultTTL: it is not cached. Operations there: getById, list`)
		w.wantReported("users", "lst", 2, 1)
		if len(w.reported) != 1 {
			w.t.Errorf("reported %v", w.reported)
		}
	})
}

// A default of 0 says of all other operations that they are not cached on purpose.
func TestADefaultTTLClaimsEachOperation(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		inWorld(t, func(w *world) {
			w.policies["users"] = registry.Policy{DefaultTTL: &ttl}
			w.Read("users", "any")
			w.Invalidated("users", "other")
			w.later(time.Minute)
			w.wantHooked()
			if w.reports > 0 {
				w.t.Error("it is reported")
			}
		})
	}
}

// What has a policy costs next to nothing: it is looked up once in five minutes.
func TestClaimedNamesAreRarelyLookedUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policies["users"] = registry.Policy{DefaultTTL: new(time.Minute)}
		for range 6 * 60 {
			w.Invalidated("users", "")
			w.later(interval)
		}
		if w.asked > 13 {
			w.t.Errorf("asked %d times in an hour", w.asked)
		}
		asked := w.asked
		w.later(time.Hour)
		if len(w.used) > 0 || w.asked > asked {
			w.t.Errorf("%d names are remembered that nobody uses, and looked up %d times", len(w.used), w.asked-asked)
		}
	})
}

func TestUnclaimedNamesAreLookedUpOnceAMinute(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"users"}
		for range 60 {
			w.Read("user", "list")
			w.Read("usr", "list")
			w.later(interval)
		}
		if w.asked > 3*11 { // two policies and the list
			w.t.Errorf("asked %d times in ten minutes", w.asked)
		}
		w.wantReported("user", "", 60, 0)
	})
}

// The operator restores a policy that was lost within seconds. The list tells it from one that does
// not exist.
func TestALostPolicyIsNotTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"users"}
		w.Read("users", "list")
		w.later(time.Minute)
		w.policies["users"] = registry.Policy{DefaultTTL: new(time.Minute)}
		w.later(time.Minute)
		w.wantHooked()
		if w.reports > 0 {
			w.t.Error("it is reported")
		}
	})
}

const ofNamespace = `namespace "shop" has no CachePolicy: nothing is cached. Correct the name, or apply a CachePolicy, or connect to the Redis that has those of the namespace`

func TestAMisspeltNamespaceIsToldOnceToTheApplicationAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 12 {
			w.Read("users", "list")
			w.Invalidated("posts", "")
			w.later(interval)
			if isLogged, isDue := w.hooked != nil, time.Duration(i)*interval >= lossGrace; isLogged != isDue {
				w.t.Errorf("logged after %s: %v", time.Duration(i)*interval, isLogged)
			}
		}
		w.wantHooked(ofNamespace)
		if w.reports > 0 {
			w.t.Error("it is reported")
		}
	})
}

func TestAFlushedRedisIsNotAMisspeltNamespace(t *testing.T) {
	inWorld(t, func(w *world) {
		w.Read("users", "list")
		w.later(interval)
		w.modules, w.policies["users"] = []string{"users"}, registry.Policy{DefaultTTL: new(time.Minute)} // restored
		w.Read("users", "list")
		w.later(time.Minute)
		w.modules, w.policies = nil, nil // for a moment, once more
		time.Sleep(time.Hour)
		w.Read("users", "list")
		w.later(interval)
		w.modules = []string{"users"} // the policy is next
		w.Read("users", "list")
		w.later(interval)
		w.modules = nil
		time.Sleep(time.Hour)
		w.Read("users", "list")
		w.later(interval)
		w.wantHooked()
	})
	inWorld(t, func(w *world) {
		w.cached = true // and nobody restores it
		for range 100 {
			w.Read("users", "list")
			w.later(interval)
		}
		w.wantHooked()
	})
}

// A job that ends within the first interval is logged, too.
func TestTheEndOfAProcessTellsWhatWasUsed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"users"}
		w.Invalidated("user", "")
		w.Close(w.t.Context())
		w.wantHooked(`module "user" of namespace "shop" has no CachePolicy: nothing is cached. Policies there: users`)
		w.wantReported("user", "", 0, 1)
	})
	inWorld(t, func(w *world) {
		w.Read("users", "list")
		w.Close(w.t.Context())
		w.wantHooked(ofNamespace)
	})
	inWorld(t, func(w *world) {
		ended, cancel := context.WithCancel(w.t.Context())
		cancel()
		w.Read("users", "list")
		w.Close(ended)
		if w.asked > 0 {
			w.t.Error("Redis is asked although there is no time left")
		}
	})
}

func TestAPolicyThatAppearsEndsTheReports(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"posts"}
		w.Read("users", "list")
		w.later(interval)
		w.modules, w.policies["users"] = []string{"posts", "users"}, registry.Policy{DefaultTTL: new(time.Minute)}
		for range 100 {
			w.Read("users", "list")
			w.later(interval)
		}
		if w.reports > 10 {
			w.t.Errorf("it was reported %d times", w.reports)
		}
	})
}

func TestCountsWaitForARedisThatIsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules, w.failure = []string{"users"}, registry.ErrUnreachable
		for range 10 {
			w.Read("user", "list")
			w.later(interval)
		}
		if w.asked > 10 {
			w.t.Errorf("a Redis that is down is asked %d times in 10 intervals", w.asked)
		}
		w.failure = nil
		w.later(interval)
		w.refusal = registry.ErrUnreachable
		w.Read("user", "list")
		w.later(time.Minute)
		w.refusal = nil
		w.later(interval)
		w.wantReported("user", "", 11, 0)
		if len(w.hooked) != 1 {
			w.t.Errorf("logged %q", w.hooked)
		}
	})
}

// An older library, or an ACL without the key, refuses reports. That is logged once, and costs
// nothing else.
func TestARefusedReportIsLoggedOnceAndTriedAgainMuchLater(t *testing.T) {
	for _, refusal := range []error{registry.ErrForbidden, registry.ErrUnexpected, registry.ErrRejected} {
		inWorld(t, func(w *world) {
			w.modules, w.refusal = []string{"users"}, refusal
			for range 6 * 60 {
				w.Read("user", "list")
				w.later(interval)
			}
			if w.reports > 7 {
				w.t.Errorf("%v: reported %d times in an hour", refusal, w.reports)
			}
			if text := w.log.String(); strings.Count(text, "not reported") != 1 || strings.Count(text, "\n") != 2 || len(w.hooked) != 1 {
				w.t.Errorf("%v: the log says %s, the hook got %q", refusal, text, w.hooked)
			}
			w.refusal = nil
			w.later(10 * time.Minute)
			w.Read("user", "list")
			w.later(interval)
			w.wantReported("user", "", 1, 0)
		})
	}
}

func TestNamesAreBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules = []string{"users"}
		long := strings.Repeat("x", 129)
		w.Read("users", long)
		w.Read(long[:64], "list")
		w.Read("", "list")
		if len(w.used) > 0 {
			w.t.Errorf("remembered %v", w.used)
		}
		for i := range 20_000 {
			w.Read(fmt.Sprint("module", i%50), fmt.Sprint("operation", i))
			w.Invalidated(fmt.Sprint("invented", i), "")
		}
		if len(w.used) > maxNames {
			w.t.Errorf("%d names are remembered", len(w.used))
		}
		w.later(interval)
		if w.asked > maxChecks+1 {
			w.t.Errorf("Redis is asked %d times at once", w.asked)
		}
		w.later(time.Hour)
		if len(w.hooked) != maxLogged || len(w.logged) > maxLogged || len(w.unsent) > 0 || len(w.used) > 0 {
			w.t.Errorf("logged %d, remembered %d, %d and %d", len(w.hooked), len(w.logged), len(w.unsent), len(w.used))
		}
	})
}

func TestReportsAreBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policies["users"] = registry.Policy{}
		for range 3 {
			for i := range 500 {
				w.Read("users", fmt.Sprint("invented", i))
			}
			w.later(interval)
		}
		if len(w.reported) < registry.MaxUnclaimed || w.reports != 3 {
			w.t.Errorf("%d names in %d reports", len(w.reported), w.reports)
		}
	})
}

func TestASentenceNamesAFewOthers(t *testing.T) {
	for names, want := range map[string]string{
		"":                         "none",
		"b,a":                      "a, b",
		"j,i,h,g,f,e,d,c,b,a":      "a, b, c, d, e, f, g, h, i, j",
		"l,k,j,i,h,g,f,e,d,c,b,a":  "a, b, c, d, e, f, g, h, i, j and 2 more",
		"a,b\x1b[2J,c d,\xff,":     "a",
		strings.Repeat("a", 200):   "none",
		"getById,list/a:b,users-1": "getById, list/a:b, users-1",
	} {
		if got := firstNames(strings.Split(names, ",")); got != want {
			t.Errorf("of %q: %q, want %q", names, got, want)
		}
	}
}

func TestAPanicOfTheHookIsContained(t *testing.T) {
	inWorld(t, func(w *world) {
		w.modules, w.config.Hook = []string{"users"}, func(string, string, error) { panic("boom") }
		w.Read("user", "list")
		w.later(interval)
		w.Read("user", "list")
		w.later(interval)
		if len(w.panicked) != 1 || w.reports == 0 {
			w.t.Errorf("panics: %v, %d reports", w.panicked, w.reports)
		}
	})
}
