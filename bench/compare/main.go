// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Command compare measures this checkout beside another commit. Three processes take turns, lap by
// lap. Two of them are the other commit, to show the noise of the machine. docs/benchmarks.md says
// how to read the result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"

	"github.com/cachewright/cachewright/bench/internal/turns"
)

const (
	// tolerance is how much worse a row may be, beyond the noise of the reference.
	tolerance = 0.05
	// defaultRounds is the number of turns that each build takes for a row.
	defaultRounds = 33
)

// parts of the benchmark, in the order of their comparison.
var parts = []string{
	"reads", "near-reads", "fills", "misses", "fetch-misses", "holds", "purges", "reclaim",
}

// errWorse reports a row that is worse than the reference.
var errWorse = errors.New("worse than the reference")

func main() {
	reference := flag.String("ref", "", "commit to compare with (required)")
	rounds := flag.Int("rounds", defaultRounds, "turns that each build takes")
	only := flag.String("parts", strings.Join(parts, ","), "parts to compare")
	operator := flag.Bool("operator", false,
		"compare the operator, too: three more runs of its benchmark for each of the three")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *reference == "" || *rounds < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr,
			"compare: usage: compare -ref COMMIT [-rounds N] [-parts reads,fills] [-operator]")
		os.Exit(2)
	}
	c := comparison{
		rounds: *rounds, parts: strings.Split(*only, ","), operator: *operator, out: os.Stdout,
	}
	if err := c.run(ctx, *reference); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// comparison compares this checkout with a commit.
type comparison struct {
	rounds   int
	parts    []string
	operator bool
	out      io.Writer
}

func (c comparison) run(ctx context.Context, reference string) error {
	b, err := newBuilds(ctx, reference)
	if err != nil {
		return err
	}
	defer b.remove()
	var results []turns.Comparison
	for _, part := range c.parts {
		fmt.Fprintln(os.Stderr, "comparing", part)
		of, err := c.comparePart(ctx, b, part)
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		results = append(results, of...)
	}
	if c.operator {
		fmt.Fprintln(os.Stderr, "comparing the operator")
		of, err := compareOperators(ctx, b)
		if err != nil {
			return fmt.Errorf("the operator: %w", err)
		}
		results = append(results, of...)
	}
	return report(c.out, results)
}

// comparePart lets the three processes of a part take turns.
func (c comparison) comparePart(
	ctx context.Context, b *builds, part string,
) (results []turns.Comparison, err error) {
	var all []*process
	defer func() {
		for _, p := range all {
			err = errors.Join(err, p.end())
		}
	}()
	for _, binary := range []string{b.candidate, b.reference, b.reference} {
		p, err := start(ctx, binary, part)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for _, row := range all[1].rows { // compare all rows that the reference has
		figures, err := c.takeTurns(all, row)
		if err != nil {
			return nil, err
		}
		result, err := turns.Compare(row, figures[0], figures[1], figures[2])
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// takeTurns measures a row by each process in each round. The order changes with each round. The
// first round warms up.
func (c comparison) takeTurns(all []*process, row turns.Row) (figures [3][]float64, err error) {
	rounds, warmUp := row.Samples, 0
	if rounds == 0 {
		rounds, warmUp = c.rounds, 1
	}
	for round := range rounds + warmUp {
		for i := range all {
			at := (round + i) % len(all)
			figure, err := all[at].measure(row.Name)
			if err != nil {
				return figures, err
			}
			if round >= warmUp {
				figures[at] = append(figures[at], figure)
			}
		}
	}
	return figures, nil
}

// report prints a line for each row, and fails with errWorse if one is worse.
func report(out io.Writer, results []turns.Comparison) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "name\tto reference\tits own noise\t\t")
	var worse []string
	for _, v := range results {
		mark := ""
		if v.Worse(tolerance) {
			worse, mark = append(worse, v.Name), "worse"
		}
		fmt.Fprintf(table, "%s\t%.3f\t%.3f\t%s\t\n", v.Name, v.ToReference, v.Noise, mark)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(worse) > 0 {
		return fmt.Errorf("%w by more than %.0f %% beyond its own noise: %s", errWorse, tolerance*100,
			strings.Join(worse, ", "))
	}
	return nil
}
