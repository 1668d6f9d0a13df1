// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checks says what is wrong with what an application gives to a new Client.
package checks

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
)

var namespaceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// Namespace wants a name that a namespace can have.
func Namespace(name string) error {
	if !namespaceName.MatchString(name) {
		return fmt.Errorf("the namespace %.70q must consist of 1 to 63 letters, "+
			"digits, '.', '_' and '-'", name)
	}
	return nil
}

// Client wants a client whose calls end when their context does. It trusts clients of other types.
func Client(client redis.UniversalClient) error {
	obeys := true
	switch client := client.(type) {
	case *redis.Client:
		obeys = client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		obeys = client.Options().ContextTimeoutEnabled
	}
	if !obeys {
		return errors.New("set ContextTimeoutEnabled in the options of the Redis client, " +
			"so that a Redis that hangs cannot hold up the application")
	}
	return nil
}

// Positive wants a duration of more than 0.
func Positive(option string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: the duration must be more than 0, not %s", option, d)
	}
	return nil
}

// AtLeast0 wants a duration that is not negative.
func AtLeast0(option string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s: the duration must be at least 0, not %s", option, d)
	}
	return nil
}

// AtLeast0Number wants a finite number that is not negative.
func AtLeast0Number(option string, n float64) error {
	if !(n >= 0) || math.IsInf(n, 0) { // the first rules out NaN, too
		return fmt.Errorf("%s: must be a number of at least 0, not %v", option, n)
	}
	return nil
}

// AtMost wants a duration within a limit.
func AtMost(option string, d, limit time.Duration) error {
	if d > limit {
		return fmt.Errorf("%s: the duration must be at most %s, not %s", option, limit, d)
	}
	return nil
}
