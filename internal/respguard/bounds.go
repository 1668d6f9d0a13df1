// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

// newScanner returns a scanner of a connection that has received nothing yet.
func newScanner(limits Limits) scanner {
	return scanner{limits: limits.within(greeting), later: limits}
}

// beginReply begins a reply or a push.
func (s *scanner) beginReply(push bool) *Violation {
	if s.pushes == 0 || s.limits.Pushes == 0 {
		s.bytes, s.elements = 0, 0
	}
	if s.push = push; !push {
		return nil
	}
	s.pushes++
	if s.limits.Pushes > 0 && s.pushes > s.limits.Pushes {
		return errPushes
	}
	return nil
}
