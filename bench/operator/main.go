// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Command operator measures the operator: the binary that users run, on a real API server and a
// real Redis. Its reference is a controller that only patches a status field. docs/benchmarks.md
// describes the method and the results.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// scale says how much is measured.
type scale struct {
	quick bool
	// latencies is the number of purges timed for each contestant, one at a time and in turns.
	latencies int
	// bursts of each contestant, in turns, and the purges in a burst.
	bursts, burst int
	// policies are spread evenly over the namespaces. The first namespaces have stores of their
	// own.
	policies, namespaces, stores int
	// The number of policy changes to time.
	propagations int
	// neighbourly is the number of purges and policy changes timed, alone and beside hostile
	// stores. hostiles is roughly the number of these stores.
	neighbourly, hostiles int
	// idle is how long the operator is left alone.
	idle time.Duration
	// stats is the value of the operator's flag --stats-interval.
	stats time.Duration
}

func fullScale() scale {
	return scale{
		latencies: 200, bursts: 5, burst: 1000, policies: 10_000, namespaces: 200, stores: 20,
		propagations: 300, idle: time.Minute,
		neighbourly: 500, hostiles: 1000, // more than there are, so all
		stats: time.Minute, // the default
	}
}

func quickScale() scale {
	return scale{
		quick: true, latencies: 30, bursts: 1, burst: 200, policies: 500, namespaces: 10, stores: 2,
		propagations: 30, idle: 5 * time.Second,
		neighbourly: 30, hostiles: 60,
		stats: 2 * time.Second,
	}
}

func main() {
	out := flag.String("out", "results.json", "file to write the results to")
	reference := flag.String("reference", "",
		"be the reference controller of the API server that this kubeconfig names")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := fullScale()
	if os.Getenv("BENCH_QUICK") != "" {
		s = quickScale()
	}
	var err error
	if *reference != "" {
		err = runReference(ctx, *reference)
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
	l, err := newLab(ctx, s)
	if err != nil {
		return err
	}
	defer l.close()
	b := &bench{scale: s, lab: l}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"latency of invalidations", b.latency},
		{"bursts of invalidations", b.throughput},
		{"creating policies", b.rollout},
		{"cold start", b.coldStart},
		{"propagation of policies", b.propagation},
		{"at rest", b.idle},
		{"beside hostile stores", b.isolation},
	} {
		fmt.Fprintf(os.Stderr, "%5.0fs  %s\n", time.Since(began).Seconds(), part.name)
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w\n%s", part.name, err, l.lastWords())
		}
	}
	r, err := l.report(ctx, s, b.rows, time.Since(began))
	if err != nil {
		return err
	}
	r.print(os.Stdout)
	return r.write(out)
}
