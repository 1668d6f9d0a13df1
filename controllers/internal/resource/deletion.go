// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

// AbandonAfter is how many times its timeout a deletion waits for a store that can be used. A
// server that answers may still let nothing come to an end.
const AbandonAfter = 10
