// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package targets says what the targets of a CacheInvalidation reach, and why they reach nothing.
package targets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// Namespace is what is known of the modules of a namespace.
type Namespace struct {
	name string
	// policies that govern, by module.
	policies map[string]*v1.CachePolicySpec
	// Modules, sorted: those with a policy here or in the store.
	Modules []string
	// unlisted: the store has no list of modules, so that only those with a policy here are known.
	unlisted bool
}

// ViewOf returns the view of an invalidation's namespace, which is read at most once.
func ViewOf(
	ctx context.Context, reader client.Reader, store calls.InvalidationStore,
	invalidation *v1.CacheInvalidation,
) View {
	return sync.OnceValues(func() (*Namespace, error) {
		return readNamespace(ctx, reader, store, invalidation)
	})
}

// readNamespace reads the policies of an invalidation's namespace that refer to its store, and the
// modules that the store knows. Those include modules whose policy was deleted and retained, or is
// managed without Kubernetes.
func readNamespace(
	ctx context.Context, reader client.Reader, store calls.InvalidationStore,
	invalidation *v1.CacheInvalidation,
) (*Namespace, error) {
	namespace := invalidation.Namespace
	policies, err := resource.PoliciesIn(ctx, reader, namespace,
		resource.StoreIDOf(namespace, invalidation.Spec.StoreRef))
	if err != nil {
		return nil, err
	}
	stored, err := store.Modules(ctx, namespace)
	if err != nil && !errors.Is(err, registry.ErrModulesUnknown) {
		return nil, err
	}
	view := &Namespace{
		name: namespace, policies: map[string]*v1.CachePolicySpec{}, unlisted: err != nil,
	}
	for module, rivals := range resource.ByModule(policies) {
		if governor := resource.Governing(rivals); governor != nil {
			view.policies[module] = &governor.Spec
		}
	}
	view.Modules = append(resource.ModulesOf(policies), stored...)
	slices.Sort(view.Modules)
	view.Modules = slices.Compact(view.Modules)
	return view, nil
}

// View reads the view of a namespace when it is needed. Most invalidations name their modules and
// match something, so they need none.
type View func() (*Namespace, error)

// Slots returns the slots that targets reach, each once.
func (view View) Slots(
	namespace string, list ...v1.InvalidationTarget,
) ([]registry.Slot, error) {
	var slots []registry.Slot
	for _, target := range list {
		modules := []string{target.Module}
		if target.Module == "" {
			known, err := view()
			if err != nil {
				return nil, err
			}
			modules = known.Modules
		}
		for _, module := range modules {
			slots = append(slots, registry.Slot{Namespace: namespace, Module: module})
		}
	}
	return resource.Distinct(slots), nil
}

// mayHaveMissed says why a target may not have reached all modules; empty: it has.
func (view View) mayHaveMissed(target v1.InvalidationTarget) (string, error) {
	if target.Module != "" {
		return "", nil
	}
	known, err := view()
	if err != nil || !known.unlisted {
		return "", err
	}
	return MissedModules, nil
}

// MissedModules is the message for an invalidation of all modules where Redis has evicted their
// list.
const MissedModules = "Redis has no list of the namespace's modules. Modules that had no " +
	"CachePolicy and were not listed since the operator started were not reached: purge them by name"

// Explain says what a person should know of the result of a target: what prevents it, why nothing
// matched, and what it may have missed.
func (view View) Explain(
	target v1.InvalidationTarget, result v1.TargetResult, met *status.ClassifiedError,
) (string, error) {
	if met != nil {
		return status.Shown(met.String()), nil
	}
	missed, err := view.mayHaveMissed(target)
	if err != nil {
		return "", err
	}
	if result.KeysInvalidated > 0 {
		return status.Shown(missed), nil
	}
	known, err := view()
	if err != nil {
		return "", err
	}
	return status.Shown(status.Sentences(known.explainNothing(target), missed)), nil
}

// explainNothing says why a target matched no entry. It names no user.
func (v *Namespace) explainNothing(target v1.InvalidationTarget) string {
	switch {
	case len(v.Modules) == 0:
		return fmt.Sprintf("namespace %s has no module: no CachePolicy declares one and Redis knows none",
			v.name)
	case target.Module != "" && !slices.Contains(v.Modules, target.Module):
		return fmt.Sprintf(
			"no such module: no CachePolicy of namespace %s declares %s and Redis does not know it; there "+
				"are: %s",
			v.name, target.Module, firstNames(v.Modules))
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

func (v *Namespace) explainOperation(target v1.InvalidationTarget) string {
	if spec := v.policies[target.Module]; spec != nil {
		policy := convert.Policy(spec)
		listed := slices.ContainsFunc(spec.Operations, func(o v1.OperationPolicy) bool {
			return o.Name == target.Operation
		})
		switch {
		case policy.TTL(target.Operation) > 0:
		case listed:
			return fmt.Sprintf("operation %s of module %s is not cached: its ttl is 0", target.Operation,
				target.Module)
		default:
			return fmt.Sprintf(
				"no such operation: the policy of module %s has no %s and caches none it does not list; "+
					"there are: %s",
				target.Module, target.Operation, firstNames(operationsOf(spec)))
		}
	}
	if target.UserID != "" {
		return fmt.Sprintf("operation %s of module %s has no entries of that user", target.Operation,
			target.Module)
	}
	return fmt.Sprintf("nothing is cached for operation %s of module %s", target.Operation,
		target.Module)
}

func operationsOf(spec *v1.CachePolicySpec) []string {
	var names []string
	for _, operation := range spec.Operations {
		names = append(names, operation.Name)
	}
	return names
}

// firstNames lists the first names.
func firstNames(names []string) string {
	const maxNames = 5
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > maxNames:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
	default:
		return strings.Join(names, ", ")
	}
}

// maxSummary is what the API allows.
const maxSummary = 512

// Summarize names the first target and how many more there are.
func Summarize(targets []v1.InvalidationTarget) string {
	summary := summarizeTarget(targets[0])
	if more := len(targets) - 1; more > 0 {
		summary += fmt.Sprintf(" and %d more", more)
	}
	return status.Clip(summary, maxSummary)
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
