// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
)

// The page of each kind lists the conditions, reasons and events that people meet, with their
// meaning and remedy. The suite compares what it lists with what specs produced. So nothing is
// documented without being tested, and nothing happens without being documented.

// pageOf names the page of a kind.
var pageOf = map[string]string{
	"CachePolicy":       "cachepolicy.md",
	"CacheInvalidation": "cacheinvalidation.md",
	"CacheStore":        "cachestore.md",
}

// vocabulary is what people can read about resources of a kind.
type vocabulary struct {
	conditions sets.Set[string]
	reasons    sets.Set[string]
	events     sets.Set[string]
}

func newVocabulary() *vocabulary {
	return &vocabulary{sets.New[string](), sets.New[string](), sets.New[string]()}
}

// produced collects what the whole suite produced, by kind.
var produced = struct {
	sync.Mutex
	byKind map[string]*vocabulary
}{byKind: map[string]*vocabulary{}}

// collect notes, and shows the observer of a stage what it has to see, until the suite ends. One
// watch for all of them spares the API server and the suite most of the work.
func collect(ctx context.Context, c client.WithWatch) {
	for kind := range pageOf {
		produced.byKind[kind] = newVocabulary()
	}
	for _, list := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{}, &eventsv1.EventList{}} {
		watcher, err := c.Watch(ctx, list)
		Expect(err).NotTo(HaveOccurred())
		var done sync.WaitGroup
		done.Go(func() {
			for e := range watcher.ResultChan() {
				if e.Type != watch.Error { // as it is when the watch ends
					note(e.Object)
					show(e)
				}
			}
		})
		DeferCleanup(func() {
			watcher.Stop()
			done.Wait()
		})
	}
}

func note(seen runtime.Object) {
	if e, ok := seen.(*eventsv1.Event); ok {
		noteEvent(e.Regarding.Kind, e.Reason)
		return
	}
	produced.Lock()
	defer produced.Unlock()
	kind := produced.byKind[kindOf(seen)]
	for _, condition := range controllertest.ConditionedOf(seen.(client.Object)).Conditions {
		kind.conditions.Insert(condition.Type)
		kind.reasons.Insert(condition.Reason)
	}
}

func init() {
	controllertest.Heard = func(about runtime.Object, reason string) { noteEvent(kindOf(about), reason) }
}

func noteEvent(kind, reason string) {
	produced.Lock()
	defer produced.Unlock()
	if about := produced.byKind[kind]; about != nil {
		about.events.Insert(reason)
	}
}

func kindOf(obj runtime.Object) string {
	gvk, err := apiutil.GVKForObject(obj, scheme)
	utilruntime.Must(err)
	return gvk.Kind
}

// documented reads the tables of a kind's page.
func documented(page string) *vocabulary {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join("..", "docs", page))
	Expect(err).NotTo(HaveOccurred())
	d := newVocabulary()
	columns := map[string]sets.Set[string]{"condition": d.conditions, "reason": d.reasons, "event": d.events}
	var names sets.Set[string]
	for line := range strings.Lines(string(content)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			names = nil
			continue
		}
		if heading := columns[strings.TrimSpace(cells[1])]; heading != nil {
			names = heading
			continue
		}
		if names != nil {
			for _, name := range quoted.FindAllStringSubmatch(cells[1], -1) {
				names.Insert(name[1])
				// What it means, and what to do.
				for _, cell := range cells[2 : len(cells)-1] {
					Expect(strings.TrimSpace(cell)).NotTo(BeEmpty(), "%s: %s has an empty cell", page, name[1])
				}
			}
		}
	}
	return d
}

var quoted = regexp.MustCompile("`([A-Z][A-Za-z]+)`")

// declaredEvents are the reasons of events that the source declares, as constants named reason…; it
// may write them in no other way.
func declaredEvents() sets.Set[string] {
	GinkgoHelper()
	reasons := sets.New[string]()
	for _, path := range sources() {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		Expect(err).NotTo(HaveOccurred())
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				reasons.Insert(reasonsOf(n)...)
			case *ast.CompositeLit:
				for _, reason := range reasonsIn(n) {
					Expect(reason).NotTo(BeAssignableToTypeOf(&ast.BasicLit{}), "%s: the reason of an event is to be a constant reason…", path)
				}
			}
			return true
		})
	}
	Expect(reasons).To(HaveKey("Purged"), "no constant is found: they are named otherwise now")
	return reasons
}

// sources are the files of all packages below, without tests.
func sources() (paths []string) {
	GinkgoHelper()
	Expect(filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			paths = append(paths, path)
		}
		return err
	})).To(Succeed())
	return paths
}

// reasonsIn returns the reason in a literal of an event.
func reasonsIn(literal *ast.CompositeLit) (reasons []ast.Expr) {
	name := ""
	switch kind := literal.Type.(type) {
	case *ast.Ident:
		name = kind.Name
	case *ast.SelectorExpr:
		name = kind.Sel.Name
	}
	if name != "Event" {
		return nil
	}
	for i, element := range literal.Elts {
		pair, keyed := element.(*ast.KeyValueExpr)
		switch {
		case !keyed && i == 1:
			reasons = append(reasons, element)
		case keyed && pair.Key.(*ast.Ident).Name == "Reason":
			reasons = append(reasons, pair.Value)
		}
	}
	return reasons
}

func reasonsOf(declared *ast.ValueSpec) (reasons []string) {
	for i, name := range declared.Names {
		if !strings.HasPrefix(strings.ToLower(name.Name), "reason") || i >= len(declared.Values) {
			continue
		}
		if literal, ok := declared.Values[i].(*ast.BasicLit); ok {
			reasons = append(reasons, strings.Trim(literal.Value, `"`))
		}
	}
	return reasons
}

var _ = ReportAfterSuite("What people can read is documented, and tested", func(report Report) {
	if !report.SuiteSucceeded || report.PreRunStats.SpecsThatWillRun < report.PreRunStats.TotalSpecs {
		return // a part of the suite produces a part of it
	}
	var wrong []string
	for kind, page := range pageOf {
		tested, listed := produced.byKind[kind], documented(page)
		// The reasons of Ready are events, too.
		events := tested.events.Difference(listed.reasons)
		for _, c := range []struct {
			what           string
			tested, listed sets.Set[string]
		}{
			{"condition", tested.conditions, listed.conditions},
			{"reason", tested.reasons, listed.reasons},
			{"event", events, listed.events},
		} {
			for name := range c.tested.Difference(c.listed) {
				wrong = append(wrong, fmt.Sprintf("docs/%s does not tell of the %s %s", page, c.what, name))
			}
			for name := range c.listed.Difference(c.tested) {
				wrong = append(wrong, fmt.Sprintf("docs/%s tells of the %s %s, which no spec produces", page, c.what, name))
			}
		}
	}
	everywhere := sets.New[string]()
	for _, page := range pageOf {
		everywhere = everywhere.Union(documented(page).events)
	}
	for name := range declaredEvents().Difference(everywhere) {
		wrong = append(wrong, fmt.Sprintf("no page tells of the event %s, which the source declares", name))
	}
	slices.Sort(wrong)
	Expect(wrong).To(BeEmpty())
})
