// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package garbage

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A script is what a tenant does with its keys. Each line is a command of words, or of quoted
// strings as in Go.
//
//	$slot           the key of the slot; $epoch, $index, $slice, $chunk: of the operation list
//	$entry, $mine   the keys of an entry that all share and of one of user u; $aside: of what waits for reclaim
//	$x1000          a thousand letters
//	MANY 1000 HSET $slot:counters misses:$n 1    the same with so many pairs, or members, in which $n is a number
//
// Calls of functions are held against what docs/protocol.md promises; other commands may fail as
// they like.
const (
	mostLines    = 60
	mostElements = 100_000
	mostBytes    = 1 << 20
	// mostBytesOfMany bounds what a line sends: the machine has other things to keep.
	mostBytesOfMany = 8 << 20
)

// names are what stands behind a dollar.
type names map[string]string

var name = regexp.MustCompile(`\$(x\d+|[a-z]+)`)

func (n names) expand(word string) string {
	return name.ReplaceAllStringFunc(word, func(found string) string {
		if times, err := strconv.Atoi(strings.TrimPrefix(found, "$x")); err == nil {
			return strings.Repeat("x", min(times, mostBytes))
		}
		if value, known := n[found[1:]]; known {
			return value
		}
		return found
	})
}

// words splits a line; what cannot be read is a word as it stands.
func words(line string) (all []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if quoted, err := strconv.QuotedPrefix(line); err == nil {
			text, _ := strconv.Unquote(quoted)
			all, line = append(all, text), line[len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		all, line = append(all, word), rest
	}
	return all
}

// run runs a script as the tenant. An error is a promise that was broken.
func (w *world) run(ctx context.Context, script string, known names) error {
	lines := strings.Split(script, "\n")
	for _, line := range lines[:min(len(lines), mostLines)] {
		all := words(line)
		if len(all) == 0 {
			continue
		}
		if err := w.runLine(ctx, all, known); err != nil {
			return fmt.Errorf("%.200s: %w", line, err)
		}
	}
	return nil
}

func (w *world) runLine(ctx context.Context, all []string, known names) error {
	if strings.EqualFold(all[0], "MANY") && len(all) > 4 {
		times, _ := strconv.Atoi(all[1])
		return w.runMany(ctx, min(times, mostElements), known, all[2:])
	}
	command := make([]any, len(all))
	for i, word := range all {
		command[i] = known.expand(word)
	}
	if strings.EqualFold(all[0], "FCALL") || strings.EqualFold(all[0], "FCALL_RO") {
		_, err := w.hold(ctx, w.tenant, command)
		return err
	}
	return notDead(w.tenant.Do(ctx, command...).Err())
}

// runMany sends a command with many elements, some hundreds at a time, of so many bytes in all.
func (w *world) runMany(ctx context.Context, times int, known names, all []string) error {
	const batch = 500
	for sent, from := 0, 0; from < times && sent < mostBytesOfMany; {
		command := []any{known.expand(all[0]), known.expand(all[1])}
		for n := 0; n < batch && from < times && sent < mostBytesOfMany; n++ {
			for _, word := range all[2:] {
				text := known.expand(strings.ReplaceAll(word, "$n", strconv.Itoa(from)))
				command, sent = append(command, text), sent+len(text)
			}
			from++
		}
		if err := notDead(w.tenant.Do(ctx, command...).Err()); err != nil {
			return err
		}
	}
	return nil
}

// notDead lets pass what Redis answers, whatever that is.
func notDead(err error) error {
	if _, answered := err.(redis.Error); answered { //nolint:errorlint // as go-redis itself asks
		return nil
	}
	return err
}
