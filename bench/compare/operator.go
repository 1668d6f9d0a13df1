// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cachewright/cachewright/bench/internal/turns"
)

// operatorRounds is the number of complete runs by each build.
const operatorRounds = 3

// operatorRows lists the rows and figures to compare.
var operatorRows = []struct {
	turns.Row
	figure string
}{
	{turns.Row{Name: "invalidation-latency"}, "p50Millis"},
	{turns.Row{Name: "invalidation-throughput", HigherIsBetter: true}, "opsPerSec"},
	{turns.Row{Name: "policy-propagation"}, "p50Millis"},
}

// compareOperators lets each checkout run its own benchmark of the operator, in turns. A turn is a
// complete short run, because the operator's binary cannot measure single laps.
func compareOperators(ctx context.Context, b *builds) ([]turns.Comparison, error) {
	roots := []string{b.root, b.referenceRoot, b.referenceRoot}
	figures := map[string]*[3][]float64{}
	for round := range operatorRounds {
		for i := range roots {
			at := (round + i) % len(roots)
			rows, err := runOperatorBench(ctx, roots[at], filepath.Join(b.dir, "operator.json"))
			if err != nil {
				return nil, err
			}
			for name, value := range rows {
				if figures[name] == nil {
					figures[name] = &[3][]float64{}
				}
				figures[name][at] = append(figures[name][at], value)
			}
		}
	}
	var results []turns.Comparison
	for _, compared := range operatorRows {
		of := figures[compared.Name]
		if of == nil {
			return nil, fmt.Errorf("no build measured %s", compared.Name)
		}
		result, err := turns.Compare(compared.Row, of[0], of[1], of[2])
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// runOperatorBench makes a short run in a checkout, and returns the figures to compare.
func runOperatorBench(ctx context.Context, root, out string) (map[string]float64, error) {
	if err := os.RemoveAll(out); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "go", "run", "./operator", "-out", out)
	command.Dir = filepath.Join(root, "bench")
	command.Env = append(os.Environ(), "BENCH_QUICK=1")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the benchmark of the operator in %s: %w\n%s", root, err, output)
	}
	return readOperatorRows(out)
}

func readOperatorRows(path string) (map[string]float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct{ Results []map[string]any }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	figures := map[string]float64{}
	for _, row := range file.Results {
		for _, compared := range operatorRows {
			if figure, measured := row[compared.figure].(float64); measured && row["name"] == compared.Name {
				figures[compared.Name] = figure
			}
		}
	}
	return figures, nil
}
