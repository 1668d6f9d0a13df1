// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package calls has what the operator needs of a Redis, as interfaces. Its layers over package
// registry add timeouts, renew claims only when due, and remember lists of modules.
package calls
