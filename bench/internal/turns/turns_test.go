// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package turns

import "testing"

func TestABuildIsWorseOnlyBeyondWhatTheReferenceShowsAgainstItself(t *testing.T) {
	same, none := []float64{100, 100, 100}, []float64{0, 0, 0}
	for _, c := range []struct {
		name             string
		row              Row
		candidate        []float64
		reference, again []float64
		worse            bool
	}{
		{"as fast", Row{HigherIsBetter: true}, []float64{100, 101, 99}, same, same, false},
		{"slower by less than the share", Row{HigherIsBetter: true}, []float64{96, 96, 96}, same, same, false},
		{"slower by more", Row{HigherIsBetter: true}, []float64{90, 90, 90}, same, same, true},
		{"slower, where the reference is as far from itself", Row{HigherIsBetter: true}, []float64{90, 90, 90}, same, []float64{107, 107, 107}, false},
		{"one bad round", Row{HigherIsBetter: true}, []float64{100, 10, 100}, same, same, false},
		{"takes longer", Row{}, []float64{120, 120, 120}, same, same, true},
		{"takes less long", Row{}, []float64{50, 50, 50}, same, same, false},
		{"nothing took time", Row{}, none, none, none, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, err := Compare(c.row, c.candidate, c.reference, c.again)
			if err != nil {
				t.Fatal(err)
			}
			if result.Worse(0.05) != c.worse {
				t.Errorf("worse is %t, wanted %t: %+v", !c.worse, c.worse, result)
			}
		})
	}
}

func TestBuildsMustTakeAsManyTurns(t *testing.T) {
	if _, err := Compare(Row{Name: "hit"}, []float64{1}, []float64{1, 2}, []float64{1, 2}); err == nil {
		t.Error("a build that took fewer turns was judged")
	}
}
