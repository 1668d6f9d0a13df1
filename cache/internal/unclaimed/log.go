// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package unclaimed

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cachewright/cachewright/registry"
)

const (
	// maxLogged bounds the names that are logged.
	maxLogged = registry.MaxUnclaimed
	// maxOthers bounds the names that a sentence offers instead.
	maxOthers = 10
)

// sentence is an error that says what is wrong with a name. It is ErrUnclaimed.
type sentence string

// Error implements error.
func (s sentence) Error() string { return string(s) }

// Unwrap makes errors.Is match ErrUnclaimed.
func (sentence) Unwrap() error { return ErrUnclaimed }

// logOnce logs a name and calls the hook, unless it did before.
func (n *Names) logOnce(of name, say func() string) {
	if _, known := n.logged[of]; known || len(n.logged) >= maxLogged {
		return
	}
	n.logged[of] = struct{}{}
	err := sentence(say())
	n.config.Logger.Warn("No CachePolicy lists a name that is used, so nothing is cached under it",
		"module", of.module, "operation", of.operation, "error", err)
	if n.config.Hook != nil {
		n.config.Hook(of.module, of.operation, err)
	}
}

func sentenceOfModule(namespace string, of name, modules []string) string {
	return fmt.Sprintf("module %q of namespace %q has no CachePolicy: nothing is cached. "+
		"Policies there: %s", of.module, namespace, firstNames(modules))
}

func sentenceOfOperation(namespace string, of name, operations []string) string {
	return fmt.Sprintf("operation %q of module %q of namespace %q is not in the CachePolicy, "+
		"which has no defaultTTL: it is not cached. Operations there: %s",
		of.operation, of.module, namespace, firstNames(operations))
}

func sentenceOfNamespace(namespace string) string {
	return fmt.Sprintf("namespace %q has no CachePolicy: nothing is cached. Correct the name, "+
		"or apply a CachePolicy, or connect to the Redis that has those of the namespace", namespace)
}

// presentable are names that may stand in a log. Others may have written those in Redis.
var presentable = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,128}$`)

// firstNames lists the first of some names, sorted.
func firstNames(names []string) string {
	shown := slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool {
		return !presentable.MatchString(name)
	})
	switch more := len(shown) - maxOthers; {
	case len(shown) == 0:
		return "none"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(shown[:maxOthers], ", "), more)
	default:
		return strings.Join(shown, ", ")
	}
}
