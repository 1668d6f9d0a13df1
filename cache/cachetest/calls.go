// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import "github.com/cachewright/cachewright/cache"

// Call is one call of a method of Cache, of Holder or of Hold.
type Call struct {
	// Method is the name of the method, such as "InvalidateUser".
	Method string
	// Module, Operation, Params and User are the arguments, or fields of the given scope. They are
	// empty if the method has none.
	Module    string
	Operation string
	Params    any
	User      string
	// Modules are the arguments of InvalidateUser or Stats.
	Modules []string
	// Covered are the arguments of Hold, also for Renew and Release.
	Covered []cache.Covered
}

func keyCall(method string, key cache.Key) Call {
	return Call{
		Method: method, Module: key.Module, Operation: key.Operation, Params: key.Params, User: key.User,
	}
}
