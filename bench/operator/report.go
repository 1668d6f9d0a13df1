// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/discovery"

	"github.com/cachewright/cachewright/bench/internal/results"
)

// part names this program's rows in the file.
const part = "operator"

// report is the operator's part of the results file.
type report struct {
	Machine machine `json:"machine"`
	Method  string  `json:"method"`
	Quick   bool    `json:"quick,omitempty"` // fewer and smaller: for a look, not for the record
	Seconds float64 `json:"seconds"`
	rows    []row
}

type machine struct {
	results.Machine

	Kubernetes string `json:"kubernetes"`
}

// row is one line of figures. Figures that do not apply to it are left out.
type row struct {
	Name             string  `json:"name"`
	RatioToReference float64 `json:"ratioToReference,omitempty"`
	// of the p99 of what others do, beside and without hostile stores
	RatioToAlone  float64 `json:"ratioToAlone,omitempty"`
	OpsPerSec     float64 `json:"opsPerSec,omitempty"`
	CPUPercent    float64 `json:"cpuPercent,omitempty"` // of a core, by all Redis together
	P50Millis     float64 `json:"p50Millis,omitempty"`
	P99Millis     float64 `json:"p99Millis,omitempty"`
	Seconds       float64 `json:"seconds,omitempty"`
	CreateSeconds float64 `json:"createSeconds,omitempty"` // of them, until all were created
	Mebibytes     float64 `json:"mebibytes,omitempty"`
	PeakMebibytes float64 `json:"peakMebibytes,omitempty"`
	// of writes to the API server, or of hostile stores; 0 is a figure, too
	Count *int `json:"count,omitempty"`
}

func tenths(f float64) float64     { return math.Round(f*10) / 10 }
func hundredths(f float64) float64 { return math.Round(f*100) / 100 }

func millis(d time.Duration) float64 { return hundredths(d.Seconds() * 1000) }

func (s scale) method() string {
	return fmt.Sprintf(
		"etcd, kube-apiserver, redis-server, the operator and the reference on one machine, by "+
			"loopback. The reference is a controller-runtime "+
			"controller with as many workers that patches one field of the status of a kind with the same "+
			"schema. Latency: create until a watch sees Complete, "+
			"%d of each, one at a time, in turns; the operator's purges take %d entries of a user each. "+
			"Throughput: %d bursts of %d of each, in turns, from the first "+
			"create until the last is seen Complete; the ratio is the median of the rounds' ratios. "+
			"Policies: %d in %d namespaces, of three operations each; %d of the namespaces have a store of "+
			"their own, each another Redis. Propagation: from the patch until "+
			"cw_policy_get shows it, %d times. Cold start: from the start of the process until it logs "+
			"that every policy is in place; count: writes to the API server (of every "+
			"group; not counted are leases and the event that names their holder) until each policy was "+
			"looked at. At rest: %s; memory is the process' resident set. "+
			"Isolation: the p99 of %d purges and as many policy changes of a namespace, one at a time, "+
			"beside stores of another one that misbehave (count), and just before; the greater ratio.",
		s.latencies, entriesOfUser, s.bursts, s.burst, s.policies, s.namespaces, s.stores, s.propagations,
		s.idle, s.neighbourly)
}

func (l *lab) report(ctx context.Context, s scale, rows []row, took time.Duration) (report, error) {
	described, err := results.ThisMachine(ctx, l.own().redis)
	if err != nil {
		return report{}, err
	}
	api, err := discovery.NewDiscoveryClientForConfig(l.config)
	if err != nil {
		return report{}, err
	}
	version, err := api.ServerVersion()
	if err != nil {
		return report{}, err
	}
	return report{
		Machine: machine{described, version.GitVersion},
		Method:  s.method(), Quick: s.quick, Seconds: math.Round(took.Seconds()), rows: rows,
	}, nil
}

// write puts the results into the file and keeps those of the other part.
func (r report) write(path string) error {
	p := results.Part{Name: part, Members: map[string]any{part: r}, Rows: results.Rows(r.rows)}
	return p.Merge(path)
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, %s, Redis %s, Kubernetes %s, %s\n\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Redis, r.Machine.Kubernetes,
		r.Machine.Date)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table,
		"name\tto reference\tto alone\tper second\tCPU %\tp50 ms\tp99 ms\tseconds\tof creation\t"+
			"MiB\tpeak MiB\tcount\t")
	for _, row := range r.rows {
		count := ""
		if row.Count != nil {
			count = strconv.Itoa(*row.Count)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Name,
			cell(row.RatioToReference), cell(row.RatioToAlone), cell(row.OpsPerSec), cell(row.CPUPercent),
			cell(row.P50Millis), cell(row.P99Millis), cell(row.Seconds), cell(row.CreateSeconds),
			cell(row.Mebibytes), cell(row.PeakMebibytes), count)
	}
	_ = table.Flush()
}

func cell(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
