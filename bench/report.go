// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strconv"
	"text/tabwriter"

	"github.com/cachewright/cachewright/bench/internal/results"
)

// report is the data plane's part of the results file.
type report struct {
	Machine machine
	Method  string
	Quick   bool // fewer and smaller measurements, not to be published
	Seconds float64
	Results []result
}

type machine struct {
	results.Machine

	Libraries map[string]string `json:"libraries"`
}

// result is one row. Figures that do not apply to it are left out.
type result struct {
	Name                  string  `json:"name"`
	Goroutines            int     `json:"goroutines,omitempty"`
	OpsPerSec             float64 `json:"opsPerSec,omitempty"`
	P50Micros             float64 `json:"p50Micros,omitempty"`
	RatioToPlainGet       float64 `json:"ratioToPlainGet,omitempty"`
	RatioToHitFetch       float64 `json:"ratioToHitFetch,omitempty"`
	RatioToHitNear        float64 `json:"ratioToHitNear,omitempty"`
	RestPercent           float64 `json:"restPercent,omitempty"`
	RatioToPlainSet       float64 `json:"ratioToPlainSet,omitempty"`
	RatioToGocacheSet     float64 `json:"ratioToGocacheSet,omitempty"`
	RatioToPlainGetAndSet float64 `json:"ratioToPlainGetAndSet,omitempty"`
	// CPU time of an operation in Redis, how many times as much
	RedisToPlainGetAndSet float64 `json:"redisToPlainGetAndSet,omitempty"`
	RatioToUnlink         float64 `json:"ratioToUnlink,omitempty"`
	P50ToPlainSet         float64 `json:"p50ToPlainSet,omitempty"`     // how many times as long
	ClientMicros          float64 `json:"clientMicros,omitempty"`      // CPU of an operation
	RedisMicros           float64 `json:"redisMicros,omitempty"`       // CPU of an operation
	LongestMicros         float64 `json:"longestMicros,omitempty"`     // of another client's GET
	SlowestCallMicros     float64 `json:"slowestCallMicros,omitempty"` // in Redis, if over 1000
	BytesPerEntry         float64 `json:"bytesPerEntry,omitempty"`

	*headline // the figures of the row headline only
}

func round(f float64) float64      { return math.Round(f) }
func tenths(f float64) float64     { return math.Round(f*10) / 10 }
func hundredths(f float64) float64 { return math.Round(f*100) / 100 }

func method(s scale) string {
	return fmt.Sprintf(
		"Loopback; a redis-server of its own for each subject, all with the same configuration and "+
			"without persistence; "+
			"subjects take turns in %d rounds of %s each, in reversed order every other round. opsPerSec "+
			"and p50Micros are medians over the rounds, "+
			"ratios the median of the rounds' ratios. Values of %d bytes; purges of more than %d keys with "+
			"%d bytes. A purged server is restored from a "+
			"snapshot before each sample, %d samples or more. Names that end in -1 were measured with one "+
			"goroutine, the others of their kind with %d.",
		s.rounds, s.lap, len(s.payload), s.largeKeys, len(s.smallPayload), s.samples, maxGoroutines)
}

func describeMachine(ctx context.Context) (machine, error) {
	m := machine{Libraries: map[string]string{}}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			switch dependency.Path {
			case "github.com/redis/go-redis/v9", "github.com/go-redis/cache/v9", "github.com/redis/rueidis",
				"github.com/redis/rueidis/rueidisaside":
				m.Libraries[dependency.Path] = dependency.Version
			}
		}
	}
	err := inLab(ctx, func(ctx context.Context, l *lab) error {
		client, err := l.freshClient(ctx)
		if err != nil {
			return err
		}
		m.Machine, err = results.ThisMachine(ctx, client)
		return err
	})
	return m, err
}

// write puts the results into the file and keeps those of the other part.
func (r report) write(path string) error {
	part := results.Part{
		Members: map[string]any{
			"machine": r.Machine, "method": r.Method, "seconds": r.Seconds, "quick": nil,
		},
	}
	if r.Quick {
		part.Members["quick"] = true
	}
	part.Rows = results.Rows(r.Results)
	return part.Merge(path)
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, %s, Redis %s, %s\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Go,
		r.Machine.Redis, r.Machine.Date)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table,
		"name\tops/s\tp50 µs\tclient CPU µs\tRedis CPU µs\tto GET\tto Fetch\tto SET EX\tto gocache\tto "+
			"GET+SET\tRedis to GET+SET\tto UNLINK\tp50 to SET EX\tlongest µs\tslowest call µs\t"+
			"bytes/entry\t")
	for _, row := range r.Results {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Name,
			cell(row.OpsPerSec), cell(row.P50Micros), cell(row.ClientMicros), cell(row.RedisMicros),
			cell(row.RatioToPlainGet), cell(row.RatioToHitFetch), cell(row.RatioToPlainSet),
			cell(row.RatioToGocacheSet), cell(row.RatioToPlainGetAndSet),
			cell(row.RedisToPlainGetAndSet), cell(row.RatioToUnlink),
			cell(row.P50ToPlainSet), cell(row.LongestMicros),
			cell(row.SlowestCallMicros), cell(row.BytesPerEntry))
	}
	_ = table.Flush()
	for _, row := range r.Results {
		if row.headline != nil {
			row.print(w)
		}
	}
}

func cell(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
