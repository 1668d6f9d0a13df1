// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
)

// writes counts all writes to the API server since it started: requests that create, change or
// delete an object. It skips leases, which replicas and API servers renew all the time. It also
// skips events of the core group, which name a lease's holder. The operator's own events are of
// events.k8s.io.
func (l *lab) writes(ctx context.Context) (int, error) {
	api, err := kubernetes.NewForConfig(l.config)
	if err != nil {
		return 0, err
	}
	stream, err := api.RESTClient().Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	defer func() { _ = stream.Close() }()
	total := 0
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if count, ok := writeCount(lines.Text()); ok {
			total += count
		}
	}
	return total, lines.Err()
}

// writeCount reads one line of the metrics.
func writeCount(line string) (count int, ok bool) {
	labels, value, found := strings.Cut(strings.TrimPrefix(line, "apiserver_request_total{"), "} ")
	if !found || !strings.HasPrefix(line, "apiserver_request_total{") {
		return 0, false
	}
	switch label(labels, "verb") {
	case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
	default:
		return 0, false
	}
	group, resource := label(labels, "group"), label(labels, "resource")
	if group == "coordination.k8s.io" || group == "" && resource == "events" {
		return 0, false
	}
	number, err := strconv.ParseFloat(value, 64)
	return int(number), err == nil
}

func label(labels, name string) string {
	_, rest, _ := strings.Cut(","+labels, ","+name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// memory returns the operator's resident memory, now and at its peak, in MiB.
func (l *lab) memory() (now, peak float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.operator.PID()))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the operator's memory, which only Linux shows: %w", err)
	}
	return kibibytes(string(status), "VmRSS") / 1024, kibibytes(string(status), "VmHWM") / 1024, nil
}

func kibibytes(status, name string) float64 {
	_, rest, _ := strings.Cut(status, name+":")
	value, _, _ := strings.Cut(rest, "kB")
	number, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return number
}

// idle measures what the operator costs while it has nothing to do.
func (b *bench) idle(ctx context.Context) error {
	l := b.lab
	if err := b.awaitRest(ctx); err != nil {
		return err
	}
	before, err := l.writes(ctx)
	if err != nil {
		return err
	}
	redisBefore, err := l.redisUse(ctx)
	if err != nil {
		return err
	}
	select {
	case <-time.After(b.scale.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := l.writes(ctx)
	if err != nil {
		return err
	}
	redisAfter, err := l.redisUse(ctx)
	if err != nil {
		return err
	}
	now, peak, err := l.memory()
	if err != nil {
		return err
	}
	b.rows = append(
		b.rows,
		row{Name: "idle-writes", Count: new(after - before)},
		redisAfter.since(redisBefore, b.scale.idle),
		row{
			Name: fmt.Sprintf("rss-%d", b.scale.policies), Mebibytes: tenths(now),
			PeakMebibytes: tenths(peak),
		},
	)
	return nil
}

// redisCalls counts the commands that the stores have received.
func (l *lab) redisCalls(ctx context.Context) (total int, err error) {
	for _, s := range l.stores {
		info := s.redis.InfoMap(ctx, "stats")
		if err := info.Err(); err != nil {
			return 0, err
		}
		calls, err := strconv.Atoi(info.Item("Stats", "total_commands_processed"))
		if err != nil {
			return 0, err
		}
		total += calls
	}
	return total, nil
}
