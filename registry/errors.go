// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/respguard"
)

// What is wrong with a store, as a caller must tell it apart. Use errors.Is.
var (
	// ErrUnreachable: no answer, or Redis says that it cannot serve now (loading, failing over,
	// cluster down). Trying again may help.
	ErrUnreachable = errors.New("redis is unreachable")
	// ErrRefusesWrites: Redis answers and takes no writes: it cannot write to its disk, has too few replicas, or is a replica
	// itself. It is ErrUnreachable, too: trying again may help.
	ErrRefusesWrites error = kind{"redis takes no writes", ErrUnreachable}
	// ErrUnauthorized: Redis refuses the credentials, or the user's ACL forbids the command.
	ErrUnauthorized = errors.New("redis refuses access")
	// ErrForbidden: the credentials are good, but the user's ACL forbids the key or the command. It is ErrUnauthorized, too.
	ErrForbidden = fmt.Errorf("%w", ErrUnauthorized)
	// ErrUnsupported: this Redis has no functions: it is older than 7.0.
	ErrUnsupported = errors.New("redis has no functions")
	// ErrRejected: the function library refused the call; the message says what to mend.
	ErrRejected = errors.New("refused")
	// ErrOutOfMemory: Redis has reached maxmemory and may not evict.
	ErrOutOfMemory = errors.New("redis is out of memory")
	// ErrNameTaken: another function library in Redis has a function of the same name. It is ErrUnsupported, too.
	ErrNameTaken error = kind{"a function of another library has the name of one of ours", ErrUnsupported}
	// ErrUnexpected: Redis answered something that fits none of the above.
	ErrUnexpected = errors.New("unexpected answer from redis")
	// ErrMisbehaves: what answers breaks the protocol of Redis, or exceeds the bounds of a reply: it is no Redis, or one
	// that may not be trusted. The connection is closed; a person has to look at the server.
	ErrMisbehaves = errors.New("what answers does not behave like redis")
	// ErrAddressNotAllowed: a DialCheck refuses the address of a server. Nothing was sent to it.
	ErrAddressNotAllowed = errors.New("the address is not allowed")
	// ErrModulesUnknown: the set of a namespace's modules is missing, so that it is not known
	// which modules there are. The operator writes it anew.
	ErrModulesUnknown = errors.New("the modules of the namespace are not known")

	// errNoLibrary: the function library is to be loaded, and the call to be made again.
	errNoLibrary = errors.New("the function library is missing")
)

// fromLibrary is how errors that come out of the function library begin: its own, which go on with the name of the call, and
// those of Redis that a command within a call met.
const fromLibrary = "CACHEWRIGHT "

// kind is an error that is a more general one, too, and says something else.
type kind struct {
	text string
	of   error
}

func (k kind) Error() string { return k.text }

func (k kind) Unwrap() error { return k.of }

// Beginnings of Redis' error replies and what they mean to a caller.
var replyMeanings = []struct {
	prefix  string
	meaning error
}{
	{"cw_", ErrRejected},
	{"NOAUTH", ErrUnauthorized},
	{"WRONGPASS", ErrUnauthorized},
	{"NOPERM", ErrForbidden},
	{"ERR The user executing the script", ErrForbidden}, // Redis 7.0, of a command in a function
	{"ERR AUTH", ErrUnauthorized},
	{"ERR invalid password", ErrUnauthorized},
	{"OOM", ErrOutOfMemory},
	{"ERR unknown command", ErrUnsupported},
	{"LOADING", ErrUnreachable},
	{"MASTERDOWN", ErrUnreachable},
	{"READONLY", ErrRefusesWrites},
	{"CLUSTERDOWN", ErrUnreachable},
	{"TRYAGAIN", ErrUnreachable},
	{"MOVED", ErrUnreachable},
	{"ASK", ErrUnreachable},
	{"BUSY", ErrUnreachable},
	{"UNBLOCKED", ErrUnreachable},
	{"MISCONF", ErrRefusesWrites},
	{"NOREPLICAS", ErrRefusesWrites},
	{"ERR max number of clients", ErrUnreachable},
}

// nameTaken is what FUNCTION LOAD says where another library has a function of the same name.
var nameTaken = regexp.MustCompile(`^ERR Function \S+ already exists`)

// meaningOf classifies an error of the client, once for all callers.
func meaningOf(err error) error {
	switch {
	case isMisbehaviour(err):
		return ErrMisbehaves
	case errors.Is(err, ErrAddressNotAllowed):
		return ErrAddressNotAllowed
	}
	if !isReply(err) {
		return ErrUnreachable
	}
	text := strings.TrimPrefix(err.Error(), fromLibrary)
	if nameTaken.MatchString(text) {
		return ErrNameTaken
	}
	for _, m := range replyMeanings {
		if strings.HasPrefix(text, m.prefix) {
			return m.meaning
		}
	}
	return ErrUnexpected
}

// isTimeout says that nothing came in time.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func isMisbehaviour(err error) bool {
	var violation *respguard.Violation
	return errors.As(err, &violation) || errors.Is(err, ErrMisbehaves) || isUndecodable(err)
}

// isReply tells an error reply of Redis from a failure to get one.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// callError names the call and the slot, never arguments: they hold payloads and user ids.
func callError(call string, slot Slot, err error) error {
	return classified(call+" of "+slot.String(), err)
}

func classified(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, meaningOf(err), presentable(err))
}

func unexpected(what string, slot Slot, reply any) error {
	return fmt.Errorf("%s of %s: %w: a reply of type %T", what, slot, ErrUnexpected, reply)
}

// missing are the beginnings of replies where the library, or what this version of it can do, is not there.
var missing = []string{
	"ERR Function not found",
	// Of version 1, which knows no owners.
	"CACHEWRIGHT cw_policy_apply takes 1 arguments",
	"CACHEWRIGHT cw_policy_delete takes 0 arguments",
}

// isFunctionMissing says that the call may succeed once the library is loaded.
func isFunctionMissing(err error) bool {
	return err != nil && isReply(err) &&
		slices.ContainsFunc(missing, func(beginning string) bool { return strings.HasPrefix(err.Error(), beginning) })
}

// isCommandUnknown says that the server has no command of the name, or that an administrator renamed it.
func isCommandUnknown(err error) bool {
	return isReply(err) && strings.HasPrefix(err.Error(), "ERR unknown command")
}

func noLibrary(call string, slot Slot) error {
	return fmt.Errorf("%s of %s: %w: %w", call, slot, ErrUnexpected, errNoLibrary)
}

// isWrongType says that a key is of another type than the library makes it.
func isWrongType(err error) bool {
	return err != nil && isReply(err) && strings.HasPrefix(err.Error(), "WRONGTYPE")
}

// ensureClassified classifies an error that may or may not have been already.
func ensureClassified(err error) error {
	for _, known := range []error{
		ErrUnreachable, ErrUnauthorized, ErrUnsupported, ErrRejected, ErrOutOfMemory, ErrMisbehaves,
		ErrAddressNotAllowed, ErrUnexpected, context.Canceled,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", meaningOf(err), presentable(err))
}

// unsent returns why no command of a pipeline was sent, given what Pipelined returned. Each command has its own error,
// but where the server refuses the connection none of them has.
func unsent(commands []redis.Cmder, err error) error {
	if slices.ContainsFunc(commands, func(command redis.Cmder) bool { return command.Err() != nil }) {
		return nil
	}
	return err
}
