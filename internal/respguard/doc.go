// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package respguard keeps a client of Redis from reading replies that would harm it.
//
// A client allocates what a reply announces before the reply has come, and follows it as deep as it is nested. Conn
// wraps the connection below the client, follows the replies as they pass, and refuses one that is no RESP2 or RESP3,
// or that exceeds Limits, before the client sees the part that does. It keeps no bytes of a reply, only where in it the
// connection is.
package respguard
