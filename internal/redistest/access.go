// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Commands is a set of commands in lower case. A subcommand is written as in client|id.
type Commands map[string]bool

// Add adds the commands of another set.
func (c Commands) Add(others Commands) { maps.Copy(c, others) }

// Without returns the commands that another set lacks, sorted.
func (c Commands) Without(others Commands) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for command := range c {
			if !others[command] && !yield(command) {
				return
			}
		}
	})
}

// ACLOf returns the lines of a page that create a user of the ACL. page is the path of the file.
func ACLOf(tb testing.TB, page, username string) []string {
	tb.Helper()
	file, err := os.Open(page)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var lines []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if strings.HasPrefix(scanner.Text(), "ACL SETUSER "+username+" ") {
			lines = append(lines, scanner.Text())
		}
	}
	if len(lines) == 0 {
		tb.Fatalf("%s has no ACL of user %s", page, username)
	}
	return lines
}

// ApplyACL runs lines that ACLOf returned. It omits lines with commands that this server does not
// have, because nobody can call them.
func (s *Server) ApplyACL(lines []string) {
	for _, line := range lines {
		if s.hasCommandsOf(line) {
			s.do(strings.Fields(line)...)
		}
	}
}

func (s *Server) hasCommandsOf(line string) bool {
	for _, word := range strings.Fields(line) {
		if command, grants := strings.CutPrefix(word, "+"); grants {
			if info, ok := s.ask("COMMAND", "INFO", command).([]any); !ok || len(info) == 0 ||
				info[0] == nil {
				return false
			}
		}
	}
	return true
}

// Granted returns the commands that the ACL allows a user. The server may abbreviate a list, for
// example "+@transaction -discard" for all but one of a category.
func (s *Server) Granted(username string) Commands {
	user, _ := s.ask("ACL", "GETUSER", username).(map[any]any)
	rules, _ := user["commands"].(string)
	granted := Commands{}
	for _, rule := range strings.Fields(strings.TrimPrefix(rules, "-@all")) {
		commands := []any{rule[1:]}
		if category, isCategory := strings.CutPrefix(rule[1:], "@"); isCategory {
			commands, _ = s.ask("ACL", "CAT", category).([]any)
		}
		for _, command := range commands {
			if strings.HasPrefix(rule, "+") {
				granted[command.(string)] = true
			} else {
				delete(granted, command.(string))
			}
		}
	}
	return granted
}

// CalledBy returns the commands that the server received from all clients during do. It includes
// those that functions called. It omits commands that everyone may call, whatever the ACL says.
func (s *Server) CalledBy(do func()) Commands {
	s.ask("CONFIG", "RESETSTAT")
	do()
	called := Commands{}
	for line := range strings.Lines(fmt.Sprint(s.ask("INFO", "commandstats"))) {
		name, figures, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		if found && !strings.HasPrefix(figures, "calls=0,") {
			called[name] = true
		}
	}
	// the last one resets the counts above
	for _, free := range []string{"auth", "hello", "config|resetstat"} {
		delete(called, free)
	}
	return called
}

// CalledBy does what Server.CalledBy does, for all servers.
func (c *Cluster) CalledBy(do func()) Commands {
	called := Commands{}
	for _, server := range c.servers {
		inner := do
		do = func() { called.Add(server.CalledBy(inner)) }
	}
	do()
	return called
}

// Refused returns what the ACL refused: the user, and the command, key or channel.
func (s *Server) Refused() []string {
	var refused []string
	entries, _ := s.ask("ACL", "LOG", "128").([]any)
	for _, e := range entries {
		entry, _ := e.(map[any]any)
		refused = append(refused, fmt.Sprintf("%v: %v %v, %v", entry["username"], entry["reason"],
			entry["object"], entry["context"]))
	}
	return refused
}

// ask runs a command as the default user. Its client sends nothing else.
func (s *Server) ask(args ...any) any {
	options := s.options("", "")
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{
		Mode: maintnotifications.ModeDisabled,
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	reply, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		s.fail(fmt.Errorf("%v on redis-server %s: %w", args[:min(2, len(args))], s.Addr(), err))
	}
	return reply
}
