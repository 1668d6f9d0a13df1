// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package operatortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
)

// Hostile servers require these credentials, which belong to a user of the Redis behind them.
const (
	HostileUser     = "tenant"
	HostilePassword = "secret"

	credentials = "credentials"
	// creators is the number of goroutines that create resources.
	creators = 8
)

// Hostiles are servers that misbehave. Each has a CacheStore in one namespace, with a policy and an
// invalidation.
type Hostiles struct {
	k8s       client.Client
	namespace string
	servers   []*hostileStore
}

// hostileStore is a server that misbehaves in one way, in one call after the other.
type hostileStore struct {
	*hostile.Server

	name   string
	role   hostile.Role
	faults []hostile.Fault
	turn   int
}

// NewHostiles creates a namespace, still without servers.
func NewHostiles(ctx context.Context, k8s client.Client, namespace string) (*Hostiles, error) {
	err := k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	if err == nil {
		err = k8s.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: credentials},
			StringData: map[string]string{"username": HostileUser, "password": HostilePassword},
		})
	}
	return &Hostiles{k8s: k8s, namespace: namespace}, err
}

// Learn returns the calls that the operator makes to well-behaved servers of each role, from the
// creation of resources to their deletion.
func (h *Hostiles) Learn(
	ctx context.Context, upstream string,
) (map[hostile.Role][]string, error) {
	faults := map[hostile.Role][]hostile.Fault{}
	for _, role := range hostile.Roles() {
		faults[role] = []hostile.Fault{{}}
	}
	defer h.Close()
	if err := h.Add(ctx, upstream, faults, len(faults)); err != nil {
		return nil, err
	}
	if err := eventually(ctx, time.Second, h.allWell); err != nil {
		return nil, fmt.Errorf("resources on servers that behave: %w", err)
	}
	if err := h.Delete(ctx); err != nil {
		return nil, err
	}
	calls := map[hostile.Role][]string{}
	for _, server := range h.servers {
		calls[server.role] = server.Calls()
	}
	return calls, nil
}

// allWell returns an error unless policies are Ready, with figures, and invalidations are Complete.
func (h *Hostiles) allWell(ctx context.Context) error {
	policies, invalidations := &v1.CachePolicyList{}, &v1.CacheInvalidationList{}
	err := errors.Join(h.k8s.List(ctx, policies, client.InNamespace(h.namespace)),
		h.k8s.List(ctx, invalidations, client.InNamespace(h.namespace)))
	for i := range policies.Items {
		if status := policies.Items[i].Status; status.AppliedHash == "" || status.Stats == nil {
			err = errors.Join(err, fmt.Errorf("CachePolicy %s: %v", policies.Items[i].Name,
				status.Conditions))
		}
	}
	for i := range invalidations.Items {
		if status := invalidations.Items[i].Status; status.State != v1.StateComplete {
			err = errors.Join(err, fmt.Errorf("CacheInvalidation %s: %v", invalidations.Items[i].Name,
				status.Conditions))
		}
	}
	return err
}

// Add starts hostile servers in front of the Redis at upstream: one for each role and each way to
// misbehave. If these are more than limit, it starts only about that many. Each begins to misbehave
// in a different call.
func (h *Hostiles) Add(
	ctx context.Context, upstream string, faults map[hostile.Role][]hostile.Fault, limit int,
) error {
	var all []*hostileStore
	for _, role := range hostile.Roles() {
		for _, faults := range byWay(faults[role]) {
			all = append(all, &hostileStore{role: role, faults: faults})
		}
	}
	var added []*hostileStore
	step := max(1, len(all)/max(1, limit))
	for i := 0; i < len(all); i += step {
		server := all[i]
		server.name, server.turn = fmt.Sprint("hostile-", len(h.servers)), i
		var err error
		if server.Server, err = hostile.Run(upstream, server.role, server.fault()); err != nil {
			return err
		}
		h.servers, added = append(h.servers, server), append(added, server)
	}
	return each(added, func(server *hostileStore) error { return h.create(ctx, server) })
}

// byWay groups faults by their way.
func byWay(faults []hostile.Fault) [][]hostile.Fault {
	var groups [][]hostile.Fault
	for _, fault := range faults {
		at := slices.IndexFunc(groups, func(group []hostile.Fault) bool {
			return group[0].Way.Name == fault.Way.Name
		})
		if at < 0 {
			groups = append(groups, []hostile.Fault{fault})
			continue
		}
		groups[at] = append(groups[at], fault)
	}
	return groups
}

func (s *hostileStore) fault() hostile.Fault { return s.faults[s.turn%len(s.faults)] }

// Rotate lets each server misbehave in its next call. It changes each policy and creates another
// invalidation for each.
func (h *Hostiles) Rotate(ctx context.Context) error {
	return each(h.servers, func(server *hostileStore) error {
		server.turn++
		server.Misbehave(server.fault())
		policy := h.policy(server)
		patch := fmt.Appendf(nil, `{"spec":{"defaultTTL":"%ds"}}`, 60+server.turn)
		if err := h.k8s.Patch(ctx, policy, client.RawPatch("application/merge-patch+json",
			patch)); err != nil {
			return err
		}
		return h.k8s.Create(ctx, h.invalidation(server))
	})
}

// Turns returns how many calls of Rotate it takes until each server has misbehaved in each of its
// calls.
func (h *Hostiles) Turns() (turns int) {
	for _, server := range h.servers {
		turns = max(turns, len(server.faults))
	}
	return turns - 1
}

// Unasked returns the present faults of servers that have not yet received the call in question.
func (h *Hostiles) Unasked() (faults []string) {
	for _, server := range h.servers {
		if server.Misbehaved() == 0 {
			faults = append(faults, server.fault().String())
		}
	}
	return faults
}

// Count returns the number of servers.
func (h *Hostiles) Count() int { return len(h.servers) }

// Close closes all servers.
func (h *Hostiles) Close() {
	for _, server := range h.servers {
		server.Close()
	}
	h.servers = nil
}

// each calls do for all servers, for several at a time.
func each(servers []*hostileStore, do func(*hostileStore) error) error {
	queue := make(chan *hostileStore)
	var group sync.WaitGroup
	errs := make([]error, creators)
	for i := range creators {
		group.Go(func() {
			for server := range queue {
				if err := do(server); err != nil {
					errs[i] = fmt.Errorf("%s, %s: %w", server.name, server.fault(), err)
				}
			}
		})
	}
	for _, server := range servers {
		queue <- server
	}
	close(queue)
	group.Wait()
	return errors.Join(errs...)
}
