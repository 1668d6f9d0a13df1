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
	purge := controllertest.Purge(v1.InvalidationTarget{All: true})
	purge.Name, purge.Status.EffectiveTime = name, new(metav1.NewMicroTime(at))
	return purge
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
	purgeWith := func(uid types.UID, change ...func(*v1.CacheInvalidation)) *v1.CacheInvalidation {
		purge := controllertest.Purge(v1.InvalidationTarget{Module: "users"})
		purge.Namespace, purge.Name, purge.UID = "shop", "purge", uid
		purge.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		for _, c := range change {
			c(purge)
		}
		return purge
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
		{"never issued", func(*Journal) {}, []*v1.CacheInvalidation{purgeWith("a")}, nil},
		{"issued", func(j *Journal) { j.Begin(purgeWith("a"), now) }, []*v1.CacheInvalidation{purgeWith("a")}, []string{"a under way"}},
		{"a dry run", func(j *Journal) {
			j.Begin(purgeWith("a", func(p *v1.CacheInvalidation) { p.Spec.DryRun = true }), now)
		}, nil, nil},
		{"in another store", func(j *Journal) {
			j.Begin(purgeWith("a", func(p *v1.CacheInvalidation) { p.Spec.StoreRef = nil }), now)
		}, nil, nil},
		{
			"the cache shows it, and nobody has told so", func(j *Journal) { j.Begin(purgeWith("a"), now) },
			[]*v1.CacheInvalidation{purgeWith("a", effective)},
			[]string{"a"},
		},
		{"recorded", func(j *Journal) {
			j.Begin(purgeWith("a"), now)
			j.Done(purgeWith("a", effective))
		}, []*v1.CacheInvalidation{purgeWith("a", effective)}, []string{"a"}},
		{"another version, of before", func(j *Journal) {
			j.Begin(purgeWith("a"), now)
			j.Done(purgeWith("a"))
		}, nil, []string{"a under way"}},
		{"given up", func(j *Journal) {
			j.Begin(purgeWith("a"), now)
			j.Done(purgeWith("a", failed))
		}, []*v1.CacheInvalidation{purgeWith("a", failed)}, nil},
		{
			"in part, as a target was refused", func(*Journal) {},
			[]*v1.CacheInvalidation{purgeWith("a", func(p *v1.CacheInvalidation) {
				p.Spec.Targets = append(p.Spec.Targets, v1.InvalidationTarget{Module: "posts"})
				p.Status.Targets = []v1.TargetResult{{Modules: 1}, {Message: "refused"}}
			}, effective, failed, completed)},
			[]string{"a"},
		},
		{
			"in part, when it was given up", func(*Journal) {},
			[]*v1.CacheInvalidation{purgeWith("a", func(p *v1.CacheInvalidation) {
				p.Spec.Targets = append(p.Spec.Targets, v1.InvalidationTarget{Module: "posts"})
				p.Spec.ActiveDeadlineSeconds = new(int64(1))
				p.Status.Targets = []v1.TargetResult{{Modules: 1}}
			}, failed, completed)},
			[]string{"a of [0]"},
		},
		{
			"in part, the last target, when it was given up", func(*Journal) {},
			[]*v1.CacheInvalidation{purgeWith("a", partly, failed, completed)},
			[]string{"a of [1]"},
		},
		{
			"in part, by another operator", func(*Journal) {}, []*v1.CacheInvalidation{purgeWith("a", partly)}, []string{"a under way of [1]"},
		},
		{
			"in part, by another operator, and again by this one", func(j *Journal) { j.Begin(purgeWith("a", partly), now) },
			[]*v1.CacheInvalidation{purgeWith("a", partly)},
			[]string{"a under way"},
		},
		{
			"in part, by another operator, and deleted", func(j *Journal) { j.Deleted(purgeWith("a", partly)) }, nil, []string{"a of [1]"},
		},
		{
			"refused altogether", func(*Journal) {},
			[]*v1.CacheInvalidation{purgeWith("a", func(p *v1.CacheInvalidation) {
				p.Status.Targets = []v1.TargetResult{{}}
			}, failed, completed)},
			nil,
		},
		{"deleted, and its last version was not seen", func(j *Journal) {
			j.Begin(purgeWith("a"), now)
			j.Deleted(purgeWith("a"))
		}, nil, []string{"a"}},
		{"deleted and made anew", func(j *Journal) {
			j.Begin(purgeWith("a"), now)
			j.Begin(purgeWith("b"), now)
			j.Deleted(purgeWith("a", effective))
		}, []*v1.CacheInvalidation{purgeWith("b")}, []string{"a", "b under way"}},
		{"issued after its deletion was told", func(j *Journal) {
			j.Deleted(purgeWith("a"))
			j.Begin(purgeWith("a"), now)
			j.Forget(types.NamespacedName{Namespace: "shop", Name: "purge"})
		}, nil, nil},
	} {
		j := NewJournal()
		test.tell(j)
		var recorded []client.Object
		for _, purge := range test.recorded {
			recorded = append(recorded, purge)
		}
		known, err := j.since(t.Context(), resource.Referrers{Reader: controllertest.FakeCache(t, recorded...), Store: main}, now.Add(-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, purge := range known {
			name := string(purge.UID)
			if purge.underWay {
				name += " under way"
			}
			var included []int
			for i := range purge.Spec.Targets {
				if purge.includes(i) {
					included = append(included, i)
				}
			}
			if len(included) < len(purge.Spec.Targets) {
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
