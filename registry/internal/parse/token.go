// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package parse

import "strings"

// Token of a load. Package registry exports and documents it.
type Token string

const (
	// noLease is the token of an entry that is held, or of an operation that is not cached.
	noLease Token = "0"
	// unleased begins a token here that a read gave. The library gets it as a plain one.
	unleased = "r"
	plain    = "1"
)

// TokenOf returns the token of heads that were read.
func TokenOf(heads []string) Token { return Token(unleased + strings.Join(heads, "")) }

// Unleased says that the token is from a Read: there was no lease, and so no load lock.
func (t Token) Unleased() bool { return strings.HasPrefix(string(t), unleased) }

// Sent returns the token as the library knows it.
func (t Token) Sent() string {
	if t.Unleased() {
		return plain + string(t[len(unleased):])
	}
	return string(t)
}
