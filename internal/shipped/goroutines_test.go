// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"go/ast"
	"go/types"
	"testing"
)

// A panic that nobody recovers from ends the process, wherever it happens: the operator for every
// namespace, or the application. So whatever runs on a goroutine of its own recovers, or cannot
// panic by what comes from outside.

// starters are functions and methods that run what they are given on another goroutine, or hand it
// to who does.
var starters = map[string]bool{
	"AfterFunc": true, "AddCleanup": true, "SetFinalizer": true, "WaitGroup.Go": true,
	"Group.Go": true, "Group.TryGo": true, "Group.DoChan": true,

	"Informer.AddEventHandler": true, "Informer.AddEventHandlerWithOptions": true, "SharedInformer.AddEventHandler": true,
	"FieldIndexer.IndexField": true, "EnqueueRequestsFromMapFunc": true, "NewPredicateFuncs": true,
	"Manager.Add": true, "Manager.AddReadyzCheck": true, "Manager.AddHealthzCheck": true,

	"ClusterClient.ForEachMaster": true, "ClusterClient.ForEachShard": true, "ClusterClient.OnNewNode": true,
}

const (
	ofKubernetes = "it is given objects that Go has decoded and that the schema bounds, and asks no store"
	bounded      = "what it reads has passed the guard of its connection, and is decoded with bounds; the fuzz targets of the registry run it"
	ownFigures   = "it handles what this process made alone"
	waits        = "it only waits, or tells another goroutine"
)

// unguarded are the goroutines that do not recover, each with the reason why it need not.
var unguarded = map[string]string{
	"cache/internal/fence: Guard.Enter: Group.DoChan":     bounded,
	"cache/internal/fence: New: ClusterClient.OnNewNode":  ownFigures,
	"cache/internal/heads: link.serve: AfterFunc":         waits,
	"cache/internal/heads: link.serve: WaitGroup.Go":      bounded,
	"cache/internal/heads: openLink: go":                  "messages are received by respguard.Receive, which recovers; what else it reads has passed the guard",
	"cache/internal/outbox: Outbox.deliverOnce: Group.Go": "each delivery recovers (Outbox.deliverItem)",
	"cache/internal/background: Runner.Close: go":         waits,
	"cache/internal/background: Runner.Start: AfterFunc":  waits,
	"cache/internal/report: New: go":                      bounded,
	"cmd/operator: newManager: Manager.Add":               ofKubernetes,
	"cmd/operator: setUp: Manager.AddHealthzCheck":        "the HTTP server recovers",
	"cmd/operator: setUp: Manager.AddReadyzCheck":         "the HTTP server recovers",

	"controllers/cachepolicy: Reconciler.SetupWithManager: EnqueueRequestsFromMapFunc": ofKubernetes,
	"controllers/cachestore: Reconciler.SetupWithManager: EnqueueRequestsFromMapFunc":  ofKubernetes,
	"controllers/internal/queue: newTurnQueue: go":                                     "what may panic in it recovers (turnQueue.containedStoreOf); the rest handles requests of this process",
	"controllers/internal/resource: Watch: Informer.AddEventHandler":                   ofKubernetes,
	"controllers/internal/resource: IndexFields: FieldIndexer.IndexField":              ofKubernetes,
	"controllers/stores: Manager.start: WaitGroup.Go":                                  "each probe of a monitor recovers (Monitor.Probe); what is around it only waits",
	"controllers: Setup: Manager.Add":                                                  "it starts and stops monitors, and waits",
	"controllers: Setup: Manager.AddReadyzCheck":                                       "the HTTP server recovers",

	"internal/respguard: WatchCluster: AddCleanup":              ownFigures,
	"internal/respguard: WatchCluster: ClusterClient.OnNewNode": ownFigures,
	"repository/internal/transact: Engine.begin: AfterFunc":     waits,
	"repository/internal/transact: outlast: AfterFunc":          waits,

	"registry/internal/fencing: Fences.eachPrimary: WaitGroup.Go":     bounded,
	"registry/internal/primary: ForEach: ClusterClient.ForEachMaster": bounded,
	"registry/internal/mget: Batches.join: go":                        bounded,
	"registry/internal/connect: sentinels.askAll: WaitGroup.Go":       bounded,
	"registry/internal/connect: sentinels.followBy: AfterFunc":        waits,
	"registry/internal/connect: sentinels.track: go":                  "messages are received by respguard.Receive, which recovers, and not looked into; what else it reads has passed the guard",
}

func TestEveryGoroutineRecoversOrNeedNot(t *testing.T) {
	if testing.Short() {
		t.Skip("loads every package, which -short leaves out")
	}
	found, guarded := map[string]bool{}, 0
	for _, s := range shippedSources(t) {
		for function := range s.functions() {
			ast.Inspect(function.Body, func(node ast.Node) bool {
				how, run := s.start(node)
				switch {
				case how == "":
				case s.recovers(run):
					guarded++
				default:
					found[s.nameOf(function)+": "+how] = true
				}
				return true
			})
		}
	}
	compare(t, found, unguarded, "let what runs there recover (and tell of the panic as of any failure); "+
		"or, if nothing that comes from outside can make it panic, name the reason in the table unguarded")
	t.Logf("%d recover, %d need not", guarded, len(found))
}

// start says how a statement or a call starts a goroutine, and what runs there; "": it does not.
func (s *source) start(node ast.Node) (how string, run ast.Expr) {
	switch node := node.(type) {
	case *ast.GoStmt:
		return "go", node.Call.Fun
	case *ast.CallExpr:
		function := s.called(node)
		if function == nil || function.Pkg() == nil || len(node.Args) == 0 {
			return "", nil
		}
		if name := shortName(function); starters[name] {
			return name, node.Args[len(node.Args)-1]
		}
	}
	return "", nil
}

// recovers says whether what runs, a literal or a function of the package, defers something that
// recovers.
func (s *source) recovers(run ast.Expr) bool {
	body := s.bodyOf(run)
	if body == nil {
		return false
	}
	for _, statement := range body.List {
		deferred, ok := statement.(*ast.DeferStmt)
		if ok && (callsRecover(s.bodyOf(deferred.Call.Fun)) || s.contains(deferred.Call)) {
			return true
		}
	}
	return false
}

// contains says whether a call is of contain.Panic.
func (s *source) contains(call *ast.CallExpr) bool {
	function := s.called(call)
	return function != nil && function.Pkg().Path() == module+"/internal/contain" && function.Name() == "Panic"
}

func (s *source) bodyOf(function ast.Expr) *ast.BlockStmt {
	switch function := ast.Unparen(function).(type) {
	case *ast.FuncLit:
		return function.Body
	case *ast.Ident:
		return s.bodies[s.origin(function)]
	case *ast.SelectorExpr:
		return s.bodies[s.origin(function.Sel)]
	default:
		return nil
	}
}

// origin is what a name was declared as, also where it is an instance of something generic.
func (s *source) origin(name *ast.Ident) types.Object {
	if function, ok := s.info.Uses[name].(*types.Func); ok {
		return function.Origin()
	}
	return s.info.Uses[name]
}

func callsRecover(body *ast.BlockStmt) (found bool) {
	if body == nil {
		return false
	}
	ast.Inspect(body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "recover" {
				found = true
			}
		}
		return !found
	})
	return found
}
