// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

const unclaimedDay = 24 * time.Hour

var unclaimedKey = keyspace.UnclaimedKey(users.Namespace)

func reportUnclaimed(tb testing.TB, r *Registry, names ...Unclaimed) {
	tb.Helper()
	if err := r.ReportUnclaimed(tb.Context(), users.Namespace, names); err != nil {
		tb.Fatal(err)
	}
}

// unclaimedNames returns the names of the namespace without their age, which it checks.
func unclaimedNames(tb testing.TB, r *Registry) []Unclaimed {
	tb.Helper()
	names, err := r.Unclaimed(tb.Context(), users.Namespace)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range names {
		if names[i].Age < 0 || names[i].Age > unclaimedDay {
			tb.Errorf("%+v was reported %s ago", names[i], names[i].Age)
		}
		names[i].Age = 0
	}
	return names
}

func wantUnclaimed(tb testing.TB, r *Registry, want ...Unclaimed) {
	tb.Helper()
	if got := unclaimedNames(tb, r); !slices.Equal(got, want) {
		tb.Errorf("got %+v, want %+v", got, want)
	}
}

// checkUnclaimedCounts reports names of two namespaces, and reads them.
func checkUnclaimedCounts(t *testing.T, r *Registry) {
	t.Helper()
	wantUnclaimed(t, r)
	reportUnclaimed(t, r, Unclaimed{Module: "users", Operation: "lst", Reads: 2}, Unclaimed{Module: "user", Reads: 3, Invalidations: 1})
	reportUnclaimed(t, r, Unclaimed{Module: "user", Reads: 4}, Unclaimed{Module: "users", Operation: "get/by:id", Invalidations: 5})
	if err := r.ReportUnclaimed(t.Context(), "bank", []Unclaimed{{Module: "accounts", Reads: 1}}); err != nil {
		t.Fatal(err)
	}
	wantUnclaimed(t, r, Unclaimed{Module: "user", Reads: 7, Invalidations: 1},
		Unclaimed{Module: "users", Operation: "get/by:id", Invalidations: 5}, Unclaimed{Module: "users", Operation: "lst", Reads: 2})
	all, err := r.UnclaimedOf(t.Context(), []string{"empty", "bank", users.Namespace})
	if err != nil || len(all) != 3 || len(all[0]) != 0 || len(all[1]) != 1 || all[1][0].Module != "accounts" || len(all[2]) != 3 {
		t.Errorf("of three namespaces: %+v (%v)", all, err)
	}
}

func TestUnclaimedNamesAreCounted(t *testing.T) {
	r, _ := newRegistry(t)
	checkUnclaimedCounts(t, r)
}

func TestUnclaimedNamesAreCountedInACluster(t *testing.T) {
	t.Parallel()
	checkUnclaimedCounts(t, registryOn(t, redistest.StartCluster(t, 3).Client()))
}

// A client that meets a Redis without the library, or with an older one, loads it, if it may.
func TestUnclaimedNamesAreReportedWhereTheLibraryWasMissing(t *testing.T) {
	r, client := newRegistry(t)
	if err := client.FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	reportUnclaimed(t, r, Unclaimed{Module: "user", Reads: 1})
	wantUnclaimed(t, r, Unclaimed{Module: "user", Reads: 1})
}

// What a tenant reports is in its own namespace, and the documented users suffice.
func TestATenantReportsUnclaimedNamesOfItsNamespaceOnly(t *testing.T) {
	server := redistest.Start(t)
	documentedUsers(t, server)
	operator, tenant := registryOn(t, server.ClientAs("cachewright", "secret")), registryAs(server, "shop")
	reportUnclaimed(t, tenant, Unclaimed{Module: "user", Reads: 1})
	wantUnclaimed(t, tenant, Unclaimed{Module: "user", Reads: 1})
	wantUnclaimed(t, operator, Unclaimed{Module: "user", Reads: 1})
	for _, other := range []string{"shop2", "sho", "team"} {
		err := tenant.ReportUnclaimed(t.Context(), other, []Unclaimed{{Module: "user", Reads: 1}})
		_, readErr := tenant.Unclaimed(t.Context(), other)
		if !errors.Is(err, ErrForbidden) || !errors.Is(readErr, ErrForbidden) || ConcernsStore(err) {
			t.Errorf("of %s: %v, %v", other, err, readErr)
		}
	}
	all, err := tenant.UnclaimedOf(t.Context(), []string{"team", "shop"})
	var ofSlots SlotErrors
	if !errors.As(err, &ofSlots) || len(ofSlots) != 1 || len(all) != 2 || len(all[1]) != 1 {
		t.Errorf("beside a namespace that the ACL forbids: %+v (%v)", all, err)
	}
}

// A bad name does not keep others from being reported.
func TestNamesThatNoPolicyCanHaveAreNotReported(t *testing.T) {
	r, _ := newRegistry(t)
	bad := []Unclaimed{
		{},
		{Operation: "list"},
		{Module: "a b"},
		{Module: "-a"},
		{Module: "a/b"},
		{Module: strings.Repeat("m", 64)},
		{Module: "\x1b[2J"},
		{Module: "users", Operation: "a b"},
		{Module: "users", Operation: "list\n"},
		{Module: "users", Operation: strings.Repeat("o", 129)},
		{Module: "users", Operation: "/a"},
	}
	reportUnclaimed(t, r, bad...)
	wantUnclaimed(t, r)
	longest := Unclaimed{Module: strings.Repeat("m", 63), Operation: strings.Repeat("o", 128), Reads: 1 << 62, Invalidations: -1}
	reportUnclaimed(t, r, append(bad, longest)...)
	longest.Reads, longest.Invalidations = 999_999_999_999_999, 0
	wantUnclaimed(t, r, longest)
	reportUnclaimed(t, r, longest)
	wantUnclaimed(t, r, longest)
}

func nowOf(t *testing.T, client *redis.Client) int64 {
	return client.Time(t.Context()).Val().UnixMilli()
}

func TestUnclaimedNamesAreKeptForADayAfterTheirLastReport(t *testing.T) {
	r, client := newRegistry(t)
	now, day := nowOf(t, client), unclaimedDay.Milliseconds()
	reportUnclaimed(t, r, Unclaimed{Module: "new", Reads: 1})
	if left := client.PTTL(t.Context(), unclaimedKey).Val(); left <= unclaimedDay-time.Minute || left > unclaimedDay {
		t.Errorf("the key expires in %s", left)
	}
	client.HSet(t.Context(), unclaimedKey, "yesterday", fmt.Sprint("1 0 ", now-day+60_000), "before", fmt.Sprint("1 0 ", now-day-1))
	wantUnclaimed(t, r, Unclaimed{Module: "new", Reads: 1}, Unclaimed{Module: "yesterday", Reads: 1})
	if client.HExists(t.Context(), unclaimedKey, "before").Val() {
		t.Error("what is older than a day stays")
	}
	reportUnclaimed(t, r, Unclaimed{Module: "yesterday", Reads: 1})
	names, err := r.Unclaimed(t.Context(), users.Namespace)
	if err != nil || len(names) != 2 || names[1].Reads != 2 || names[1].Age > time.Hour {
		t.Errorf("reported again: %+v (%v)", names, err)
	}
}

func TestAFullListOfUnclaimedNamesDropsThoseReportedLeastRecently(t *testing.T) {
	r, client := newRegistry(t)
	now := nowOf(t, client)
	for i := range MaxUnclaimed {
		client.HSet(t.Context(), unclaimedKey, fmt.Sprintf("m%02d", i), fmt.Sprintf("%d 0 %d", i, now-int64((MaxUnclaimed-i)*1000)))
	}
	reportUnclaimed(t, r, Unclaimed{Module: "a", Reads: 1}, Unclaimed{Module: "z", Reads: 1}, Unclaimed{Module: "m00", Reads: 1})
	names := unclaimedNames(t, r)
	if len(names) != MaxUnclaimed || names[0].Module != "a" || names[MaxUnclaimed-1].Module != "z" {
		t.Fatalf("got %+v", names)
	}
	has := func(module string) bool {
		return slices.ContainsFunc(names, func(name Unclaimed) bool { return name.Module == module })
	}
	if has("m01") || has("m02") || !has("m03") || !has("m00") {
		t.Errorf("others were dropped than the two oldest: %+v", names)
	}
	// A clock that was set back does not make what is reported now the oldest.
	for i := range MaxUnclaimed {
		client.HSet(t.Context(), unclaimedKey, names[i].Module, fmt.Sprint("1 0 ", now+60*60*1000))
	}
	reportUnclaimed(t, r, Unclaimed{Module: "zz", Reads: 1})
	if names := unclaimedNames(t, r); len(names) != MaxUnclaimed || names[MaxUnclaimed-1].Module != "zz" {
		t.Errorf("after the clock was set back: %+v", names)
	}
}

// Reports beside each other add up, and never make more than 64 names.
func TestUnclaimedNamesAddUpAndAreBounded(t *testing.T) {
	r, client := newRegistry(t)
	name := rapid.Custom(func(t *rapid.T) Unclaimed {
		return Unclaimed{
			Module:        fmt.Sprint("m", rapid.IntRange(0, 40).Draw(t, "module")),
			Operation:     rapid.SampledFrom([]string{"", "list", "a/b"}).Draw(t, "operation"),
			Reads:         rapid.Int64Range(0, 1000).Draw(t, "reads"),
			Invalidations: rapid.Int64Range(0, 1000).Draw(t, "invalidations"),
		}
	})
	reports := rapid.SliceOfN(rapid.OneOf(rapid.SliceOfN(name, 1, 5), rapid.SliceOfN(name, 50, 70)), 1, 6)
	type id struct{ module, operation string }
	rapid.Check(t, func(rt *rapid.T) {
		client.FlushDB(t.Context())
		before := map[id]Unclaimed{}
		for _, reported := range reports.Draw(rt, "reports") {
			reportUnclaimed(t, r, reported...)
			sum, last := before, map[id]bool{}
			for _, name := range reported[:min(len(reported), MaxUnclaimed)] {
				of := id{name.Module, name.Operation}
				name.Reads, name.Invalidations = name.Reads+sum[of].Reads, name.Invalidations+sum[of].Invalidations
				sum[of], last[of] = name, true
			}
			before = map[id]Unclaimed{}
			for _, got := range unclaimedNames(t, r) {
				of := id{got.Module, got.Operation}
				if got != sum[of] {
					rt.Fatalf("got %+v, want %+v", got, sum[of])
				}
				before[of] = got
				delete(last, of)
			}
			if len(last) > 0 || len(before) != min(len(sum), MaxUnclaimed) {
				rt.Fatalf("%d of %d names are left, without %v", len(before), len(sum), last)
			}
			if fields := client.HLen(t.Context(), unclaimedKey).Val(); fields != int64(len(before)) {
				rt.Fatalf("the key has %d fields", fields)
			}
		}
	})
}

// Whatever a tenant writes into the key, calls are short, and the names reported after that are
// there.
func TestUnclaimedNamesAreReportedAmidGarbage(t *testing.T) {
	r, client := bounded(t)
	ctx, now := t.Context(), nowOf(t, client)
	set := func(fields ...any) func() error {
		return func() error { return client.HSet(ctx, unclaimedKey, fields...).Err() }
	}
	for name, write := range map[string]func() error{
		"a string":           func() error { return client.Set(ctx, unclaimedKey, "x", 0).Err() },
		"a list":             func() error { return client.RPush(ctx, unclaimedKey, "user", "1 1 1").Err() },
		"a hundred thousand": func() error { manyFields(t, client, unclaimedKey, "m%d"); return nil },
		"one name too many": func() error {
			var fields []any
			for i := range MaxUnclaimed + 1 {
				fields = append(fields, fmt.Sprint("m", i), fmt.Sprint("1 1 ", now))
			}
			return client.HSet(ctx, unclaimedKey, fields...).Err()
		},
		"a megabyte":           set("user", strings.Repeat("1", 1<<20)),
		"a name of a megabyte": set(strings.Repeat("m", 1<<20), fmt.Sprint("1 1 ", now)),
		"no names": set("", fmt.Sprint("1 1 ", now), "a b", fmt.Sprint("1 1 ", now), "users/", fmt.Sprint("1 1 ", now), "/list", fmt.Sprint("1 1 ", now),
			"\x1b[2J", fmt.Sprint("1 1 ", now), "users/a b", fmt.Sprint("1 1 ", now), strings.Repeat("m", 64), fmt.Sprint("1 1 ", now)),
		"no counts": set("a", "", "b", "1 1", "c", "-1 0 1", "d", "1e3 0 1", "e", fmt.Sprint("0x1 1 ", now), "f", fmt.Sprint("9007199254740993 1 ", now),
			"g", fmt.Sprint("1 1 ", now, " "), "h", "1 1 9223372036854775807"),
		"times to come": set("a", fmt.Sprint("1 1 ", now+2*unclaimedDay.Milliseconds()), "b", "1 1 999999999999999"),
	} {
		for _, readFirst := range []bool{true, false} {
			client.Del(ctx, unclaimedKey)
			if err := write(); err != nil {
				t.Fatal(err)
			}
			if readFirst {
				wantBounded(t, client, name, func() error { wantUnclaimed(t, r); return nil })
			}
			before := commandsRun(t, client)
			reportUnclaimed(t, r, Unclaimed{Module: "user", Reads: 1})
			if took := commandsRun(t, client) - before; took > 10 {
				t.Errorf("%s: a report takes %d commands", name, took)
			}
			wantUnclaimed(t, r, Unclaimed{Module: "user", Reads: 1})
		}
	}
}

// No client waits for others that report: a full report of the longest names into a full key takes
// a bounded number of commands.
func TestAReportOfUnclaimedNamesIsShort(t *testing.T) {
	r, client := newRegistry(t)
	named := func(kind string) (names []Unclaimed) {
		for i := range MaxUnclaimed {
			names = append(names, Unclaimed{Module: fmt.Sprintf("%s%061d", kind, i), Operation: strings.Repeat("o", 128), Reads: 1})
		}
		return names
	}
	reportUnclaimed(t, r, named("a")...)
	before := commandsRun(t, client)
	reportUnclaimed(t, r, named("b")...)
	if took := commandsRun(t, client) - before; took > 10 {
		t.Errorf("a report takes %d commands", took)
	}
	if bytes := client.MemoryUsage(t.Context(), unclaimedKey).Val(); bytes > 64*512 {
		t.Errorf("the key takes %d bytes, so the library drops it", bytes)
	}
	if names := unclaimedNames(t, r); len(names) != MaxUnclaimed || !strings.HasPrefix(names[0].Module, "b") {
		t.Errorf("got %+v", names)
	}
}

// When Redis has no memory left, names are reported nevertheless: they tell why it is not used.
func TestUnclaimedNamesAreReportedWhenRedisIsFull(t *testing.T) {
	r, client := newRegistry(t)
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	reportUnclaimed(t, r, Unclaimed{Module: "user", Reads: 1})
	wantUnclaimed(t, r, Unclaimed{Module: "user", Reads: 1})
}

func TestUnclaimedNamesThatCannotBeAreRefused(t *testing.T) {
	many := fmt.Sprintf("*%d\r\n", 5*(MaxUnclaimed+1))
	for range MaxUnclaimed + 1 {
		many += bulk("user") + bulk("") + ":1\r\n:1\r\n:1\r\n"
	}
	for name, reply := range map[string]string{
		"a number":             ":1\r\n",
		"half a name":          "*3\r\n" + bulk("user") + bulk("") + ":1\r\n",
		"too many":             many,
		"a strange module":     "*5\r\n" + bulk("\x1b[2J") + bulk("") + ":1\r\n:1\r\n:1\r\n",
		"a strange operation":  "*5\r\n" + bulk("user") + bulk("a b") + ":1\r\n:1\r\n:1\r\n",
		"a count below zero":   "*5\r\n" + bulk("user") + bulk("") + ":-1\r\n:1\r\n:1\r\n",
		"an age below zero":    "*5\r\n" + bulk("user") + bulk("") + ":1\r\n:1\r\n:-1\r\n",
		"a count that is text": "*5\r\n" + bulk("user") + bulk("") + ":1\r\n" + bulk("1") + ":1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := operatorOf(t, Connection{Addresses: []string{answering(t, to("fcall cw_unclaimed", reply))}})
			if names, err := r.Unclaimed(context.Background(), "shop"); !errors.Is(err, ErrUnexpected) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%+v, %v", names, err)
			}
		})
	}
}
