// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestArgoHealth runs the health checks in the interpreter that Argo CD embeds.
func TestArgoHealth(t *testing.T) {
	const (
		policy       = "cachepolicy_health.lua"
		invalidation = "cacheinvalidation_health.lua"
		store        = "cachestore_health.lua"
	)
	for name, test := range map[string]struct {
		script, status string
		want           string
	}{
		"policy, not stored by a cluster yet": {policy, `null`, "Progressing: Waiting for the operator"},
		"policy, fresh":                       {policy, `{observedGeneration: -1}`, "Progressing: Waiting for the operator"},
		"policy, changed since":               {policy, ready(1, "True", "Applied"), "Progressing: Waiting for the operator"},
		"policy, in force":                    {policy, ready(2, "True", "Applied"), "Healthy: Applied it is"},
		"policy, suspended":                   {policy, ready(2, "True", "Suspended"), "Suspended: Suspended it is"},
		"policy, Redis is down":               {policy, ready(2, "False", "StoreUnreachable", "Reconciling"), "Progressing: StoreUnreachable it is"},
		"policy, another governs":             {policy, ready(2, "False", "Conflicted", "Stalled"), "Degraded: Conflicted it is"},

		"store, fresh":         {store, `{observedGeneration: -1}`, "Progressing: Waiting for the operator"},
		"store, changed since": {store, ready(1, "True", "Connected"), "Progressing: Waiting for the operator"},
		"store, in use":        {store, ready(2, "True", "Connected"), "Healthy: Connected it is"},
		"store, down":          {store, ready(2, "False", "StoreUnreachable", "Reconciling"), "Progressing: StoreUnreachable it is"},
		"store, too old":       {store, ready(2, "False", "StoreUnsupported", "Stalled"), "Degraded: StoreUnsupported it is"},

		"purge, fresh":             {invalidation, `{observedGeneration: -1}`, "Progressing: Waiting for the operator"},
		"purge, before conditions": {invalidation, `{observedGeneration: 2}`, "Progressing: Waiting for the operator"},
		"purge, Redis is down":     {invalidation, ready(2, "False", "StoreUnreachable", "Reconciling"), "Progressing: StoreUnreachable it is"},
		"purge, reclaiming":        {invalidation, ready(2, "False", "Reclaiming", "Reconciling"), "Progressing: Reclaiming it is"},
		"purge, complete":          {invalidation, ready(2, "True", "Invalidated", "Complete"), "Healthy: Invalidated it is"},
		"purge, of nothing":        {invalidation, ready(2, "True", "NothingMatched", "Complete"), "Healthy: NothingMatched it is"},
		"purge, too late":          {invalidation, ready(2, "False", "DeadlineExceeded", "Failed", "Stalled"), "Degraded: DeadlineExceeded it is"},
		"purge, Redis is too old":  {invalidation, ready(2, "False", "StoreUnsupported", "Stalled"), "Degraded: StoreUnsupported it is"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := health(t, test.script, "{metadata: {generation: 2}, status: "+test.status+"}"); got != test.want {
				t.Errorf("health = %q, want %q", got, test.want)
			}
		})
	}
}

// ready returns a status with the condition Ready, and with others that are True.
func ready(observed int, status, reason string, others ...string) string {
	conditions := []string{fmt.Sprintf("{type: Ready, status: %q, reason: %s, message: %s it is}", status, reason, reason)}
	for _, other := range others {
		conditions = append(conditions, fmt.Sprintf("{type: %s, status: 'True', reason: %s, message: %s it is}", other, reason, reason))
	}
	return fmt.Sprintf("{observedGeneration: %d, conditions: [%s]}", observed, strings.Join(conditions, ", "))
}

func health(t *testing.T, script, object string) string {
	t.Helper()
	var decoded any
	if err := yaml.Unmarshal([]byte(object), &decoded); err != nil {
		t.Fatal(err)
	}
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", toLua(state, decoded))
	if err := state.DoFile("argocd/" + script); err != nil {
		t.Fatal(err)
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("returned %v, want a table", state.Get(-1))
	}
	return result.RawGetString("status").String() + ": " + result.RawGetString("message").String()
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, element := range v {
			table.RawSetString(key, toLua(state, element))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, element := range v {
			table.Append(toLua(state, element))
		}
		return table
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	default:
		return lua.LNil
	}
}

func TestArgoHealthIsAddedToWhatIsThere(t *testing.T) {
	ctx := context.Background()
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-cm"},
		Data:       map[string]string{"url": "https://argocd.example.com"},
	}
	// A namespace never ends here, so it may be there from an earlier run of this test.
	argocd := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: settings.Namespace}}
	if err := client.IgnoreAlreadyExists(cluster.Create(ctx, argocd)); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Create(ctx, settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Delete(context.Background(), settings) })

	kubectl(t, "apply", "--server-side", "-k", "argocd")

	if err := cluster.Get(ctx, client.ObjectKeyFromObject(settings), settings); err != nil {
		t.Fatal(err)
	}
	if settings.Data["url"] != "https://argocd.example.com" || len(settings.Data) != 4 {
		t.Errorf("data = %v, want what was there and three health checks", settings.Data)
	}
}
