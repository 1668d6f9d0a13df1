// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// namespaceView is what is known of the modules of a namespace.
type namespaceView struct {
	name string
	// policies that govern, by module.
	policies map[string]*v1.CachePolicySpec
	// modules, sorted: those with a policy here or in the store.
	modules []string
	// unlisted: the store has no list of modules, so that only those with a policy here are known.
	unlisted bool
}

// viewOf returns the view of a purge's namespace, which is read at most once.
func viewOf(ctx context.Context, reader client.Reader, store InvalidationStore, invalidation *v1.CacheInvalidation) viewer {
	return sync.OnceValues(func() (*namespaceView, error) { return viewNamespace(ctx, reader, store, invalidation) })
}

// viewNamespace reads the policies of a purge's namespace that refer to its store, and the modules that the store knows: those
// include modules whose policy was deleted and retained, or is managed without Kubernetes.
func viewNamespace(
	ctx context.Context, reader client.Reader, store InvalidationStore, invalidation *v1.CacheInvalidation,
) (*namespaceView, error) {
	namespace := invalidation.Namespace
	policies, err := policiesIn(ctx, reader, namespace, storeIDOf(namespace, invalidation.Spec.StoreRef))
	if err != nil {
		return nil, err
	}
	stored, err := store.Modules(ctx, namespace)
	if err != nil && !errors.Is(err, registry.ErrModulesUnknown) {
		return nil, err
	}
	view := &namespaceView{name: namespace, policies: map[string]*v1.CachePolicySpec{}, unlisted: err != nil}
	for module, rivals := range byModule(policies) {
		if winner := governing(rivals); winner != nil {
			view.policies[module] = &winner.Spec
		}
	}
	view.modules = append(modulesOf(policies), stored...)
	slices.Sort(view.modules)
	view.modules = slices.Compact(view.modules)
	return view, nil
}

func byModule(policies []v1.CachePolicy) map[string][]v1.CachePolicy {
	grouped := map[string][]v1.CachePolicy{}
	for _, policy := range policies {
		grouped[policy.Spec.Module] = append(grouped[policy.Spec.Module], policy)
	}
	return grouped
}

// modulesOf lists the modules of policies, sorted.
func modulesOf(policies []v1.CachePolicy) []string {
	var modules []string
	for _, policy := range policies {
		modules = append(modules, policy.Spec.Module)
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

// viewer views the namespace of a purge when that is asked for: most purges name their modules, and match something.
type viewer func() (*namespaceView, error)

// slots that a target reaches.
func (view viewer) slots(namespace string, target v1.InvalidationTarget) ([]registry.Slot, error) {
	if target.Module != "" {
		return []registry.Slot{{Namespace: namespace, Module: target.Module}}, nil
	}
	known, err := view()
	if err != nil {
		return nil, err
	}
	slots := make([]registry.Slot, len(known.modules))
	for i, module := range known.modules {
		slots[i] = registry.Slot{Namespace: namespace, Module: module}
	}
	return slots, nil
}

// mayHaveMissed says that a target may not have reached all modules; empty: it has.
func (view viewer) mayHaveMissed(target v1.InvalidationTarget) (string, error) {
	if target.Module != "" {
		return "", nil
	}
	known, err := view()
	if err != nil || !known.unlisted {
		return "", err
	}
	return missedModules, nil
}

// missedModules is what becomes of a purge of all modules where Redis has evicted the list of them.
const missedModules = "Redis has no list of the namespace's modules: those that had neither a CachePolicy since the operator started, nor were listed, " +
	"were not reached, if there are any; purge them by name"

// explain says what a person should know of the result of a target: what is in its way, why nothing matched, and what it
// may have missed.
func (view viewer) explain(target v1.InvalidationTarget, result v1.TargetResult, met *fault) (string, error) {
	if met != nil {
		return shown(met.String()), nil
	}
	missed, err := view.mayHaveMissed(target)
	if err != nil {
		return "", err
	}
	if result.KeysInvalidated > 0 {
		return shown(missed), nil
	}
	known, err := view()
	if err != nil {
		return "", err
	}
	return shown(sentences(known.explainNothing(target), missed)), nil
}

// explainNothing says why a target matched no entry. It names no user.
func (v *namespaceView) explainNothing(target v1.InvalidationTarget) string {
	switch {
	case len(v.modules) == 0:
		return fmt.Sprintf("namespace %s has no module: no CachePolicy declares one and Redis knows none", v.name)
	case target.Module != "" && !slices.Contains(v.modules, target.Module):
		return fmt.Sprintf("no such module: no CachePolicy of namespace %s declares %s and Redis does not know it; there are: %s",
			v.name, target.Module, some(v.modules))
	case target.Operation != "":
		return v.explainOperation(target)
	case target.UserID != "" && target.Module != "":
		return fmt.Sprintf("module %s has no entries of that user", target.Module)
	case target.UserID != "":
		return fmt.Sprintf("no module of namespace %s has entries of that user", v.name)
	case target.Module != "":
		return fmt.Sprintf("nothing is cached for module %s", target.Module)
	default:
		return fmt.Sprintf("nothing is cached in namespace %s", v.name)
	}
}

func (v *namespaceView) explainOperation(target v1.InvalidationTarget) string {
	if spec := v.policies[target.Module]; spec != nil {
		policy := policyOf(spec)
		listed := slices.ContainsFunc(spec.Operations, func(o v1.OperationPolicy) bool { return o.Name == target.Operation })
		switch {
		case policy.TTL(target.Operation) > 0:
		case listed:
			return fmt.Sprintf("operation %s of module %s is not cached: its ttl is 0", target.Operation, target.Module)
		default:
			return fmt.Sprintf("no such operation: the policy of module %s has no %s and caches none it does not list; there are: %s",
				target.Module, target.Operation, some(operationsOf(spec)))
		}
	}
	if target.UserID != "" {
		return fmt.Sprintf("operation %s of module %s has no entries of that user", target.Operation, target.Module)
	}
	return fmt.Sprintf("nothing is cached for operation %s of module %s", target.Operation, target.Module)
}

func operationsOf(spec *v1.CachePolicySpec) []string {
	var names []string
	for _, operation := range spec.Operations {
		names = append(names, operation.Name)
	}
	return names
}

// some lists the first few names.
func some(names []string) string {
	const few = 5
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > few:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	default:
		return strings.Join(names, ", ")
	}
}

// maxTargetSummary is what the API allows.
const maxTargetSummary = 512

// summarizeTargets names the first target and how many more there are.
func summarizeTargets(targets []v1.InvalidationTarget) string {
	summary := summarizeTarget(targets[0])
	if more := len(targets) - 1; more > 0 {
		summary += fmt.Sprintf(" and %d more", more)
	}
	return clip(summary, maxTargetSummary)
}

func summarizeTarget(target v1.InvalidationTarget) string {
	var parts []string
	if target.All {
		parts = append(parts, "all")
	}
	if target.Module != "" {
		parts = append(parts, strings.TrimSuffix(target.Module+"/"+target.Operation, "/"))
	}
	if target.UserID != "" {
		parts = append(parts, "user "+target.UserID)
	}
	return strings.Join(parts, " ")
}
