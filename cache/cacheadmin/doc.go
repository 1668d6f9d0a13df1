// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cacheadmin shows the statistics of a cache and purges it, over HTTP: as JSON for
// programs, and as a page for people.
//
//	admin, err := cacheadmin.New(users)
//	…
//	mux.Handle("/admin/cache/", authenticated(http.StripPrefix("/admin/cache", admin)))
//
// # The handler knows no users
//
// Anyone who reaches the handler may purge. So put the authentication of your application before
// it, as authenticated does above, or let it listen where only operators are. It refuses only what
// a page of another site makes a browser send.
//
// # Endpoints
//
//	GET    /                                              the page
//	GET    /stats?module=NAME&module=…                    statistics; without names, of all modules
//	GET    /module/{module}                               statistics of one module
//	GET    /module/{module}/operation/{operation}         the TTL of an operation
//	DELETE /module/{module}                               purges a module
//	DELETE /module/{module}/operation/{operation}         purges an operation
//	DELETE /module/{module}/user/{user}                   purges a user in a module
//	DELETE /user/{user}                                   purges a user in every module
//	POST   /user                                          the same; user and module are in a form
//
// Names in paths are percent-encoded: a slash is %2F. The parameter soft=true makes entries stale,
// as InvalidateSoftly of cache.Cache does. The answer is 200 once a purge is in effect. It is 202
// if the purge waits for Redis: see cache.ErrQueued. Any other status comes with an error, as JSON.
//
// Paths get into the logs of servers and proxies. POST /user keeps the id of a user out of them.
//
// Answers hold names of modules and operations, and numbers: no keys, values, params or users.
// Errors have fixed texts. What Redis said is in the log of the client.
package cacheadmin
