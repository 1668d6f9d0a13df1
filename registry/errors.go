// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/modules"
)

// The classes of errors. Use errors.Is.
var (
	// ErrUnreachable: there was no answer, or Redis cannot serve now (loading, failing over, cluster
	// down). A retry may help.
	ErrUnreachable = fault.ErrUnreachable
	// ErrRefusesWrites: Redis answers but takes no writes: it cannot write to its disk, has too few
	// replicas, or is a replica itself. It is also ErrUnreachable: a retry may help.
	ErrRefusesWrites = fault.ErrRefusesWrites
	// ErrUnauthorized: Redis refuses the credentials, or the user's ACL forbids the command.
	ErrUnauthorized = fault.ErrUnauthorized
	// ErrForbidden: the credentials are valid, but the user's ACL forbids the key or the command. It
	// is also ErrUnauthorized.
	ErrForbidden = fault.ErrForbidden
	// ErrUnsupported: this Redis has no functions, because it is older than 7.0.
	ErrUnsupported = fault.ErrUnsupported
	// ErrRejected: the function library refused the call. The message says what to correct.
	ErrRejected = fault.ErrRejected
	// ErrTTLTooLong: the FillOptions ask for more than the policy allows. It is also ErrRejected.
	// Repeat the fill without TTL.
	ErrTTLTooLong = fault.ErrTTLTooLong
	// ErrOutOfMemory: Redis has reached maxmemory and may not evict.
	ErrOutOfMemory = fault.ErrOutOfMemory
	// ErrNameTaken: another function library in Redis has a function of the same name. It is also
	// ErrUnsupported.
	ErrNameTaken = fault.ErrNameTaken
	// ErrLibraryTooOld: the function library in Redis does not know the call, or there is none, and
	// the client's user may not load a newer one.
	ErrLibraryTooOld = fault.ErrLibraryTooOld
	// ErrUnexpected: the answer of Redis fits none of the other errors.
	ErrUnexpected = fault.ErrUnexpected
	// ErrMisbehaves: the server breaks the protocol of Redis, or exceeds the bounds of a reply. It is
	// not Redis, or cannot be trusted. The connection is closed. A person has to check the server.
	ErrMisbehaves = fault.ErrMisbehaves
	// ErrAddressNotAllowed: a DialCheck refuses the address of a server. Nothing was sent to it.
	ErrAddressNotAllowed = fault.ErrAddressNotAllowed
	// ErrModulesUnknown: the set of the modules of a namespace is missing, so they are not known. The
	// operator writes the set again.
	ErrModulesUnknown = modules.ErrUnknown
)
