// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package respguard protects a Redis client from replies that would harm it.
//
// A client allocates what a reply announces before the reply arrives, and recurses as deep as the
// reply is nested. Conn wraps the connection below the client and scans the replies as they pass.
// It refuses a reply that is not RESP2 or RESP3, or that exceeds Limits, before the client sees the
// offending part. It keeps no bytes of a reply, only the position of the connection in it.
package respguard
