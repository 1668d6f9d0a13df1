// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fault classifies the errors of the Redis client, once for all callers, and makes what a
// server said in them safe to print.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/internal/respguard"
)

// The classes of errors. Package registry exports and documents them.
var (
	ErrUnreachable         = errors.New("redis is unreachable")
	ErrRefusesWrites error = subclass{"redis takes no writes", ErrUnreachable}
	ErrUnauthorized        = errors.New("redis refuses access")
	ErrForbidden           = fmt.Errorf("%w", ErrUnauthorized)
	ErrUnsupported         = errors.New("redis has no functions")
	ErrRejected            = errors.New("refused")
	ErrTTLTooLong    error = subclass{"the TTL is longer than that of the policy", ErrRejected}
	ErrOutOfMemory         = errors.New("redis is out of memory")
	ErrNameTaken     error = subclass{
		"another function library defines a function of ours", ErrUnsupported,
	}
	ErrLibraryTooOld     = errors.New("the function library in redis is missing or too old")
	ErrUnexpected        = errors.New("unexpected answer from redis")
	ErrMisbehaves        = errors.New("the server does not behave like redis")
	ErrAddressNotAllowed = errors.New("the address is not allowed")
)

// FromLibrary begins the errors that the function library returns. The name of the call follows, or
// the error of a command within the call.
const FromLibrary = "CACHEWRIGHT "

// subclass is an error with a text of its own that belongs to a more general class.
type subclass struct {
	text string
	of   error
}

func (s subclass) Error() string { return s.text }

func (s subclass) Unwrap() error { return s.of }

// replyClasses maps prefixes of Redis' error replies to classes.
var replyClasses = []struct {
	prefix string
	class  error
}{
	{"cw_set: ttl ", ErrTTLTooLong},
	{"cw_put: ttl ", ErrTTLTooLong},
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

// nameTaken is the reply to FUNCTION LOAD if another library has a function of the same name.
var nameTaken = regexp.MustCompile(`^ERR Function \S+ already exists`)

// ClassOf returns the class of an error of the client.
func ClassOf(err error) error {
	switch {
	case isMisbehaviour(err):
		return ErrMisbehaves
	case errors.Is(err, ErrAddressNotAllowed):
		return ErrAddressNotAllowed
	}
	if !IsReply(err) {
		return ErrUnreachable
	}
	text := strings.TrimPrefix(err.Error(), FromLibrary)
	if nameTaken.MatchString(text) {
		return ErrNameTaken
	}
	for _, c := range replyClasses {
		if strings.HasPrefix(text, c.prefix) {
			return c.class
		}
	}
	return ErrUnexpected
}

// Classify wraps an error of the client in its class, and says what failed. A cancelled context has
// no class.
func Classify(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ClassOf(err), presentable(err))
}

// EnsureClassified classifies an error that may have been classified already.
func EnsureClassified(err error) error {
	for _, known := range []error{
		ErrUnreachable, ErrUnauthorized, ErrUnsupported, ErrRejected, ErrOutOfMemory, ErrMisbehaves,
		ErrAddressNotAllowed, ErrLibraryTooOld, ErrUnexpected, context.Canceled,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ClassOf(err), presentable(err))
}

// Contain calls a function that talks to a server. A panic, for example over an unforeseen reply,
// becomes an error of that server.
func Contain(call func() error) (err error) {
	defer contain.Panic(&err, ErrMisbehaves)
	return call()
}

// IsTimeout says that no answer came in time.
func IsTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isMisbehaviour says that the server broke the protocol or its bounds.
func isMisbehaviour(err error) bool {
	var violation *respguard.Violation
	return errors.As(err, &violation) || errors.Is(err, ErrMisbehaves) || isUndecodable(err)
}

// IsReply distinguishes an error reply of Redis from a failure to get a reply.
func IsReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// missingFunction has the beginnings of replies that mean that the library is missing, or older
// than this version.
var missingFunction = []string{
	"ERR Function not found",
	// Version 1 knows no owners.
	"CACHEWRIGHT cw_policy_apply takes 1 arguments",
	"CACHEWRIGHT cw_policy_delete takes 0 arguments",
	// Version 3 knows no schema.
	"CACHEWRIGHT cw_set: options must be negative, room",
	// Version 4 knows no ttl.
	"CACHEWRIGHT cw_set: options must be empty or omitted, or the words negative, room, schema, in",
	// Version 5 knows no heads.
	"CACHEWRIGHT cw_set: options must be empty or omitted, or the words negative, room, schema, and",
}

// IsFunctionMissing says that the call may succeed once the library is loaded.
func IsFunctionMissing(err error) bool {
	return err != nil && IsReply(err) && slices.ContainsFunc(missingFunction,
		func(prefix string) bool {
			return strings.HasPrefix(err.Error(), prefix)
		})
}

// IsCommandUnknown says that the server has no such command, or that an administrator renamed it.
func IsCommandUnknown(err error) bool {
	return IsReply(err) && strings.HasPrefix(err.Error(), "ERR unknown command")
}

// IsWrongType says that a key has another type than the library gives it.
func IsWrongType(err error) bool {
	return err != nil && IsReply(err) && strings.HasPrefix(err.Error(), "WRONGTYPE")
}

// Unsent returns why no command of a pipeline was sent, given the result of Pipelined. Normally
// each command has an error of its own, but not if the server refuses the connection.
func Unsent(commands []redis.Cmder, err error) error {
	if slices.ContainsFunc(commands, func(command redis.Cmder) bool { return command.Err() != nil }) {
		return nil
	}
	return err
}

// ConcernsStore distinguishes an error of the store, or of the connection to it, from one of a
// single slot or call.
func ConcernsStore(err error) bool {
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrForbidden):
		return false
	default:
		return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnauthorized) ||
			errors.Is(err, ErrUnsupported) ||
			errors.Is(err, ErrMisbehaves) || errors.Is(err, ErrAddressNotAllowed)
	}
}
