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

// Commands is a set of commands, in lower case, a subcommand as in client|id.
type Commands map[string]bool

// Add adds those of another set.
func (c Commands) Add(others Commands) { maps.Copy(c, others) }

// Without are those that another set lacks, sorted.
func (c Commands) Without(others Commands) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for command := range c {
			if !others[command] && !yield(command) {
				return
			}
		}
	})
}

// ACLOf returns the lines of a page, given by its path, that make a user of the ACL.
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

// ApplyACL runs lines as ACLOf returns them. Those that name a command which this server does not have are left out:
// what is not there cannot be called.
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
			if info, ok := s.ask("COMMAND", "INFO", command).([]any); !ok || len(info) == 0 || info[0] == nil {
				return false
			}
		}
	}
	return true
}

// Granted are the commands that the ACL allows a user. The server may sum up what it was told one by one: "+@transaction
// -discard" for all but one of them.
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

// CalledBy are the commands that the server was asked for while something was done, by anybody, and those that
// functions called for it; but not those that everybody may call, whatever the ACL says.
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
	for _, free := range []string{"auth", "hello", "config|resetstat"} { // the last is our own
		delete(called, free)
	}
	return called
}

// CalledBy is Server.CalledBy of all servers.
func (c *Cluster) CalledBy(do func()) Commands {
	called := Commands{}
	for _, server := range c.servers {
		inner := do
		do = func() { called.Add(server.CalledBy(inner)) }
	}
	do()
	return called
}

// Refused tells what the ACL refused: to whom, and which command, key or channel.
func (s *Server) Refused() []string {
	var refused []string
	entries, _ := s.ask("ACL", "LOG", "128").([]any)
	for _, e := range entries {
		entry, _ := e.(map[any]any)
		refused = append(refused, fmt.Sprintf("%v: %v %v, %v", entry["username"], entry["reason"], entry["object"], entry["context"]))
	}
	return refused
}

// ask runs a command as the default user, by a client that calls nothing else.
func (s *Server) ask(args ...any) any {
	options := s.options("", "")
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	reply, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		s.fail(fmt.Errorf("%v on redis-server %s: %w", args[:min(2, len(args))], s.Addr(), err))
	}
	return reply
}
