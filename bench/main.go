// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench compares Cachewright with plain Redis clients, with its peers and with their tag
// protocols. All take turns in one run on loopback. docs/benchmarks.md describes the method and the
// results.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// scale says how much is measured.
type scale struct {
	quick bool
	// payload of an entry, and of an entry in the largest purge.
	payload, smallPayload []byte
	// keys is the number of entries that readers and fills use in turn.
	keys int
	// rounds is the number of laps that each subject runs.
	rounds int
	lap    time.Duration
	// nearProcesses lists how many processes have near caches.
	nearProcesses []int
	// nearRest is for how long these rest, and the time in which entries are deleted.
	nearRest time.Duration
	// samples is how often the server is restored and purged.
	samples int
	// purges lists numbers of keys. Peers purge at most largeKeys.
	purges    []int
	largeKeys int
	// expiringTTL is the TTL of entries that expire during a purge.
	expiringTTL time.Duration
	// headlineEvents are replayed, one each headlinePace.
	headlineEvents int
	headlinePace   time.Duration
}

func fullScale() scale {
	return scale{
		payload: text(1024), smallPayload: text(16),
		keys: 10_000, rounds: 33, lap: 60 * time.Millisecond,
		samples: 5, purges: []int{10, 1000, 100_000, 1_000_000}, largeKeys: 100_000,
		expiringTTL:   2 * time.Minute,
		nearProcesses: []int{1, 50, 200, 1000}, nearRest: 5 * time.Second,
		headlineEvents: 8000, headlinePace: 750 * time.Microsecond,
	}
}

func quickScale() scale {
	s := fullScale()
	s.quick, s.rounds, s.lap, s.samples = true, 7, 40*time.Millisecond, 3
	s.purges, s.largeKeys = []int{10, 1000, 20_000}, 20_000
	s.expiringTTL = 40 * time.Second
	s.nearRest = 3 * time.Second
	return s
}

// text returns a number of bytes that do not compress.
func text(bytes int) []byte {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // cannot fail
	return []byte(base64.StdEncoding.EncodeToString(random)[:bytes])
}

func main() {
	out := flag.String("out", "results.json", "file to write the results to")
	part := flag.String("serve", "", "measure rows of this part on request, for compare")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := fullScale()
	if os.Getenv("BENCH_QUICK") != "" {
		s = quickScale()
	}
	var err error
	if *part != "" {
		err = serve(ctx, s, *part, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, s, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything, prints the table and writes the file.
func run(ctx context.Context, s scale, out string) error {
	began := time.Now()
	b := &bench{scale: s}
	for _, part := range []struct {
		name    string
		measure func(context.Context, *lab) error
	}{
		{"reads", b.reads},
		{"reads of many entries", b.manyReads},
		{"near reads", b.nearReads},
		{"near reads beside deletions", b.nearChurn},
		{"near caches of many processes", b.nearFanout},
		{"fills", b.fills},
		{"misses", b.misses},
		{"misses of Fetch", b.fetchMiss},
		{"misses of Fetch over a link", b.fetchMissOverLink},
		{"holds", b.holds},
		{"headline", b.headline},
		{"purges", b.purges},
		{"purge of what expires", b.expiringPurge},
		{"purges by tags", b.peerPurges},
		{"reclaim, stalls and memory", b.large},
		{"stalls and memory by tags", b.peerLarge},
	} {
		fmt.Fprintf(os.Stderr, "%5.0fs  %s\n", time.Since(began).Seconds(), part.name)
		if err := inLab(ctx, part.measure); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	machine, err := describeMachine(ctx)
	if err != nil {
		return err
	}
	report := report{
		Machine: machine, Method: method(s), Quick: s.quick, Seconds: round(time.Since(began).Seconds()),
		Results: b.results,
	}
	report.print(os.Stdout)
	return report.write(out)
}

func inLab(ctx context.Context, measure func(context.Context, *lab) error) error {
	l, err := newLab()
	if err != nil {
		return err
	}
	defer l.close()
	return measure(ctx, l)
}
