// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

func TestTheJournalKnowsWhatItDoesNotKnow(t *testing.T) {
	began := time.Now()
	j := NewJournal()
	if j.covers(began) {
		t.Error("it covers a time before it began")
	}
	j.Start(began)
	for _, test := range []struct {
		name  string
		since time.Time
		want  bool
	}{{"no heartbeat", time.Time{}, false}, {"before it began", began.Add(-time.Second), false}, {"since it began", began.Add(time.Second), true}} {
		if got := j.covers(test.since); got != test.want {
			t.Errorf("%s: covered: %t", test.name, got)
		}
	}
	for i := range journalLen + 1 {
		j.Deleted(tookEffectAt(strconv.Itoa(i), began.Add(time.Duration(i)*time.Minute)))
	}
	if len(j.deleted) != journalLen || j.covers(began.Add(time.Millisecond)) || !j.covers(began.Add(time.Minute)) {
		t.Errorf("of %d deletions it keeps %d, and covers from %s on", journalLen+1, len(j.deleted), j.started)
	}
}

func tookEffectAt(name string, at time.Time) *v1.CacheInvalidation {
	invalidation := controllertest.Invalidation(v1.InvalidationTarget{All: true})
	invalidation.Name, invalidation.Status.EffectiveTime = name, new(metav1.NewMicroTime(at))
	return invalidation
}

// Resources are deleted in another order than their purges took effect.
func TestTheJournalForgetsWhatTookEffectFirst(t *testing.T) {
	began := time.Now()
	for _, test := range []struct {
		name             string
		deletedFirst     []time.Duration // when they took effect
		covers, uncovers time.Duration
	}{
		{"one of before it began", []time.Duration{-7 * 24 * time.Hour}, time.Millisecond, -6 * 24 * time.Hour},
		{"a late one before an early one", []time.Duration{10 * time.Minute, time.Minute}, 2 * time.Minute, 30 * time.Second},
	} {
		j := NewJournal()
		j.Start(began)
		for _, at := range test.deletedFirst {
			j.Deleted(tookEffectAt(at.String(), began.Add(at)))
		}
		for i := range journalLen + 1 - len(test.deletedFirst) {
			j.Deleted(tookEffectAt(strconv.Itoa(i), began.Add(20*time.Minute)))
		}
		if len(j.deleted) != journalLen || !j.covers(began.Add(test.covers)) || j.covers(began.Add(test.uncovers)) {
			t.Errorf("%s: it keeps %d, and covers from %s after it began on", test.name, len(j.deleted), j.started.Sub(began))
		}
	}
}

// A purge that may have taken effect is known from before it is issued, without a gap, until there
// is no such purge.
func TestTheJournalKnowsWhatIsUnderWay(t *testing.T) {
	now := time.Now()
	invalidationWith := func(uid types.UID, change ...func(*v1.CacheInvalidation)) *v1.CacheInvalidation {
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Namespace, invalidation.Name, invalidation.UID = "shop", "purge", uid
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		for _, c := range change {
			c(invalidation)
		}
		return invalidation
	}
	effective := func(p *v1.CacheInvalidation) { p.Status.EffectiveTime = new(metav1.NewMicroTime(now)) }
	failed := func(p *v1.CacheInvalidation) {
		p.Status.Conditions = []metav1.Condition{{Type: v1.ConditionFailed, Status: metav1.ConditionTrue}}
	}
	completed := func(p *v1.CacheInvalidation) { p.Status.CompletionTime = new(metav1.NewTime(now)) }
	partly := func(p *v1.CacheInvalidation) {
		p.Spec.Targets = append(p.Spec.Targets, v1.InvalidationTarget{Module: "posts"})
		p.Spec.ActiveDeadlineSeconds = new(int64(1))
		p.Status.Targets = []v1.TargetResult{{Message: "held up"}, {Modules: 1}}
	}
	main := resource.StoreID{Namespace: "shop", Name: "main"}
	for _, test := range []struct {
		name     string
		tell     func(*Journal)
		recorded []*v1.CacheInvalidation // in the cache
		want     []string
	}{
		{"never issued", func(*Journal) {}, []*v1.CacheInvalidation{invalidationWith("a")}, nil},
		{"issued", func(j *Journal) { j.Begin(invalidationWith("a"), now) }, []*v1.CacheInvalidation{invalidationWith("a")}, []string{"a under way"}},
		{"a dry run", func(j *Journal) {
			j.Begin(invalidationWith("a", func(p *v1.CacheInvalidation) { p.Spec.DryRun = true }), now)
		}, nil, nil},
		{"in another store", func(j *Journal) {
			j.Begin(invalidationWith("a", func(p *v1.CacheInvalidation) { p.Spec.StoreRef = nil }), now)
		}, nil, nil},
		{
			"the cache shows it, and no handler has reported it", func(j *Journal) { j.Begin(invalidationWith("a"), now) },
			[]*v1.CacheInvalidation{invalidationWith("a", effective)},
			[]string{"a"},
		},
		{"recorded", func(j *Journal) {
			j.Begin(invalidationWith("a"), now)
			j.Done(invalidationWith("a", effective))
		}, []*v1.CacheInvalidation{invalidationWith("a", effective)}, []string{"a"}},
		{"another version, of before", func(j *Journal) {
			j.Begin(invalidationWith("a"), now)
			j.Done(invalidationWith("a"))
		}, nil, []string{"a under way"}},
		{"given up", func(j *Journal) {
			j.Begin(invalidationWith("a"), now)
			j.Done(invalidationWith("a", failed))
		}, []*v1.CacheInvalidation{invalidationWith("a", failed)}, nil},
		{
			"in part, as a target was refused", func(*Journal) {},
			[]*v1.CacheInvalidation{invalidationWith("a", func(p *v1.CacheInvalidation) {
				p.Spec.Targets = append(p.Spec.Targets, v1.InvalidationTarget{Module: "posts"})
				p.Status.Targets = []v1.TargetResult{{Modules: 1}, {Message: "refused"}}
			}, effective, failed, completed)},
			[]string{"a"},
		},
		{
			"in part, when it was given up", func(*Journal) {},
			[]*v1.CacheInvalidation{invalidationWith("a", func(p *v1.CacheInvalidation) {
				p.Spec.Targets = append(p.Spec.Targets, v1.InvalidationTarget{Module: "posts"})
				p.Spec.ActiveDeadlineSeconds = new(int64(1))
				p.Status.Targets = []v1.TargetResult{{Modules: 1}}
			}, failed, completed)},
			[]string{"a of [0]"},
		},
		{
			"in part, the last target, when it was given up", func(*Journal) {},
			[]*v1.CacheInvalidation{invalidationWith("a", partly, failed, completed)},
			[]string{"a of [1]"},
		},
		{
			"in part, by another operator", func(*Journal) {}, []*v1.CacheInvalidation{invalidationWith("a", partly)}, []string{"a under way of [1]"},
		},
		{
			"in part, by another operator, and again by this one", func(j *Journal) { j.Begin(invalidationWith("a", partly), now) },
			[]*v1.CacheInvalidation{invalidationWith("a", partly)},
			[]string{"a under way"},
		},
		{
			"in part, by another operator, and deleted", func(j *Journal) { j.Deleted(invalidationWith("a", partly)) }, nil, []string{"a of [1]"},
		},
		{
			"refused altogether", func(*Journal) {},
			[]*v1.CacheInvalidation{invalidationWith("a", func(p *v1.CacheInvalidation) {
				p.Status.Targets = []v1.TargetResult{{}}
			}, failed, completed)},
			nil,
		},
		{"deleted, and its last version was not seen", func(j *Journal) {
			j.Begin(invalidationWith("a"), now)
			j.Deleted(invalidationWith("a"))
		}, nil, []string{"a"}},
		{"deleted and created again", func(j *Journal) {
			j.Begin(invalidationWith("a"), now)
			j.Begin(invalidationWith("b"), now)
			j.Deleted(invalidationWith("a", effective))
		}, []*v1.CacheInvalidation{invalidationWith("b")}, []string{"a", "b under way"}},
		{"issued after its deletion was reported", func(j *Journal) {
			j.Deleted(invalidationWith("a"))
			j.Begin(invalidationWith("a"), now)
			j.Forget(types.NamespacedName{Namespace: "shop", Name: "purge"})
		}, nil, nil},
	} {
		j := NewJournal()
		test.tell(j)
		var recorded []client.Object
		for _, invalidation := range test.recorded {
			recorded = append(recorded, invalidation)
		}
		known, err := j.since(t.Context(), resource.Referrers{Reader: controllertest.FakeCache(t, recorded...), Store: main}, now.Add(-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, invalidation := range known {
			name := string(invalidation.UID)
			if invalidation.underWay {
				name += " under way"
			}
			var included []int
			for i := range invalidation.Spec.Targets {
				if invalidation.includes(i) {
					included = append(included, i)
				}
			}
			if len(included) < len(invalidation.Spec.Targets) {
				name += fmt.Sprint(" of ", included)
			}
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: knows %q; want %q", test.name, got, test.want)
		}
	}
}
