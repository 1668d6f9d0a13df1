// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/cachewright/cachewright/bench/internal/medians"
	"github.com/cachewright/cachewright/bench/internal/turns"
)

// measurement is one row that can be measured repeatedly, independently of others.
type measurement struct {
	turns.Row
	take func(ctx context.Context) (float64, error)
}

// servedPart prepares the rows of a part that measure Cachewright. Peers are the same in both
// builds.
type servedPart func(ctx context.Context, l *lab, s scale) ([]measurement, error)

var servedParts = map[string]servedPart{
	"reads":      servedReads(networkReaders),
	"near-reads": servedReads(nearReaders),
	"fills": servedWrites(fillWriters,
		func(s scale) func(int) string { return func(n int) string { return id(n % s.keys) } }),
	"misses":       servedWrites(missWriters, func(scale) func(int) string { return id }),
	"fetch-misses": servedWrites(fetchMisses, func(scale) func(int) string { return id }),
	"holds":        servedHolds,
	"purges":       servedPurges,
	"reclaim":      servedReclaim,
}

// serve measures on request, so that builds can take turns lap by lap. It prints the rows of a
// part. Then it reads the name of a row from each line and prints its figure.
func serve(ctx context.Context, s scale, part string, in io.Reader, out io.Writer) error {
	prepare := servedParts[part]
	if prepare == nil {
		return fmt.Errorf("there is no part %q to serve", part)
	}
	return inLab(ctx, func(ctx context.Context, l *lab) error {
		measurements, err := prepare(ctx, l, s)
		if err != nil {
			return err
		}
		byName, rows := map[string]measurement{}, []turns.Row{}
		for _, m := range measurements {
			byName[m.Name] = m
			rows = append(rows, m.Row)
		}
		replies := json.NewEncoder(out)
		if err := replies.Encode(rows); err != nil {
			return err
		}
		requests := bufio.NewScanner(in)
		for requests.Scan() {
			m, known := byName[requests.Text()]
			if !known {
				return fmt.Errorf("there is no row %q in part %s", requests.Text(), part)
			}
			figure, err := m.take(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			if err := replies.Encode(turns.Figure{Value: figure}); err != nil {
				return err
			}
		}
		return requests.Err()
	})
}

// isOwn reports whether a row measures Cachewright, not a peer.
func isOwn(name string) bool {
	for _, prefix := range []string{"hit", "fill", "miss", "fetch-miss"} {
		if name == prefix || strings.HasPrefix(name, prefix+"-") {
			return true
		}
	}
	return false
}

func servedReads(readers []reader) servedPart {
	return func(ctx context.Context, l *lab, s scale) ([]measurement, error) {
		var own []reader
		for _, r := range readers {
			if isOwn(r.name) {
				own = append(own, r)
			}
		}
		subjects, err := subjectsOf(ctx, l, s, own)
		return laps(l, s, subjects), err
	}
}

func servedWrites(writers []writer, name func(scale) func(int) string) servedPart {
	return func(ctx context.Context, l *lab, s scale) ([]measurement, error) {
		var own []writer
		for _, w := range writers {
			if isOwn(w.name) {
				own = append(own, w)
			}
		}
		subjects, err := writing(ctx, l, s, own, name(s))
		return laps(l, s, subjects), err
	}
}

// laps makes two rows of each subject: operations a second by many goroutines, and by one.
func laps(l *lab, s scale, subjects []*subject) []measurement {
	var rows []measurement
	for _, goroutines := range []int{maxGoroutines, 1} {
		for _, subject := range subjects {
			name := subject.name
			if goroutines == 1 {
				name += "-1"
			}
			rows = append(rows,
				measurement{turns.Row{
					Name: name, HigherIsBetter: true,
				}, func(ctx context.Context) (float64, error) {
					ran, err := l.runLap(ctx, subject, goroutines, s.lap)
					return float64(ran.ops) / ran.took.Seconds(), err
				}})
		}
	}
	return rows
}

// servedPurges makes a row for each size: the microseconds until a purge is in effect.
func servedPurges(ctx context.Context, l *lab, s scale) ([]measurement, error) {
	var rows []measurement
	for _, count := range s.purges {
		payload := s.payload
		if count > s.largeKeys {
			payload = s.smallPayload
		}
		f, err := newFilled(ctx, l, ours, count, payload)
		if err != nil {
			return nil, err
		}
		rows = append(rows,
			measurement{turns.Row{
				Name: fmt.Sprint("purge-", count), Samples: 3 * s.samples,
			}, func(ctx context.Context) (float64, error) {
				times, err := f.timesToEffect(ctx, ours, 1)
				return medians.Of(times), err
			}})
	}
	return rows, nil
}

// servedReclaim makes the rows for freed memory and for the size of a slot.
func servedReclaim(ctx context.Context, l *lab, s scale) ([]measurement, error) {
	f, err := newFilled(ctx, l, ours, s.largeKeys, s.payload)
	return []measurement{
		{turns.Row{Name: "reclaim", HigherIsBetter: true, Samples: s.samples}, f.reclaimRate},
		{turns.Row{
			Name: "purge-stall", Samples: 3 * s.samples,
		}, func(ctx context.Context) (float64, error) {
			stalled, err := f.stall(ctx, ours, 1)
			return medians.Of(stalled.longestMicros), err
		}},
		{turns.Row{Name: "index-bytes", Samples: 1}, func(ctx context.Context) (float64, error) {
			return f.indexBytes(ctx, ours, isOurEntry, s.largeKeys)
		}},
	}, err
}
