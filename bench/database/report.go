// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/cachewright/cachewright/bench/internal/results"
)

// part names this program's rows in the file.
const part = "database"

// report is the part of the database layer in the results file.
type report struct {
	Machine machine `json:"machine"`
	Method  string  `json:"method"`
	Quick   bool    `json:"quick,omitempty"` // shorter: for a look, not for the record
	Seconds float64 `json:"seconds"`
	rows    []row
}

type machine struct {
	results.Machine

	Postgres string `json:"postgres"`
}

func (s scale) method() string {
	return fmt.Sprintf(
		"PostgreSQL with fsync, redis-server and one process on one machine, by loopback. %d rows of "+
			"500 bytes. One goroutine; calls of all subjects take turns one by one, %d rounds of %d calls. "+
			"p50Micros: the median of the rounds' medians; timeTo: the median of the rounds' ratios. What "+
			"is read from a cache is a hit.", authors*listed, s.rounds, s.calls)
}

func (l *lab) report(ctx context.Context, s scale, rows []row, took time.Duration) (report, error) {
	described, err := results.ThisMachine(ctx, l.redis)
	if err != nil {
		return report{}, err
	}
	r := report{
		Machine: machine{Machine: described},
		Method:  s.method(), Quick: s.quick, Seconds: math.Round(took.Seconds()), rows: rows,
	}
	err = l.pool.QueryRowContext(ctx, "SHOW server_version").Scan(&r.Machine.Postgres)
	return r, err
}

// write puts the results into the file and keeps those of the other parts.
func (r report) write(path string) error {
	p := results.Part{Name: part, Members: map[string]any{part: r}, Rows: results.Rows(r.rows)}
	return p.Merge(path)
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, %s, Redis %s, PostgreSQL %s, %s\n\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Redis, r.Machine.Postgres, r.Machine.Date)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "name\tp50 µs\ttimes\tthat of\t")
	for _, row := range r.rows {
		times := ""
		if row.To != "" {
			times = fmt.Sprint(row.TimeTo)
		}
		fmt.Fprintf(table, "%s\t%.1f\t%s\t%s\t\n", row.Name, row.P50Micros, times, row.To)
	}
	_ = table.Flush()
}
