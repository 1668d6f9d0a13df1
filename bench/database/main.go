// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Command database measures the database layer beside what it stands on: GORM, the cache, and
// transactions without a cache. docs/benchmarks.md describes the method and the results.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// scale says how much is measured.
type scale struct {
	quick bool
	// rounds of as many calls of each subject.
	rounds, calls int
}

func fullScale() scale  { return scale{rounds: 33, calls: 300} }
func quickScale() scale { return scale{quick: true, rounds: 5, calls: 50} }

func main() {
	out := flag.String("out", "results.json", "file to write the results to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := fullScale()
	if os.Getenv("BENCH_QUICK") != "" {
		s = quickScale()
	}
	if err := run(ctx, s, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything, prints the table and writes the file.
func run(ctx context.Context, s scale, out string) error {
	began := time.Now()
	l, err := newLab(ctx)
	defer l.close()
	if err != nil {
		return err
	}
	subjects := l.subjects()
	times, err := measure(ctx, subjects, s)
	if err != nil {
		return err
	}
	if loads := l.loads.Load(); loads > 0 {
		return fmt.Errorf("%d reads of what is cached went to the database", loads)
	}
	r, err := l.report(ctx, s, rows(subjects, times), time.Since(began))
	if err != nil {
		return err
	}
	r.print(os.Stdout)
	return r.write(out)
}
