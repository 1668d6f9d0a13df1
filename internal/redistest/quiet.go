// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import "github.com/redis/go-redis/v9/logging"

// Tests of this package and with it break connections on purpose. go-redis would print hundreds of
// lines about them.
func init() { logging.Disable() }
