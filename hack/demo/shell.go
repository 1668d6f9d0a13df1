// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func title(number int, text string) { say("\n%s", bold(fmt.Sprintf("%d. %s", number, text))) }

// bold emphasises a text on a terminal, unless NO_COLOR says otherwise.
func bold(text string) string {
	out, err := os.Stdout.Stat()
	if os.Getenv("NO_COLOR") != "" || err != nil || out.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	return "\033[1m" + text + "\033[0m"
}

// kubectl shows a command, runs it and shows what it prints.
func (s *stage) kubectl(ctx context.Context, args ...string) error {
	return s.kubectlWith(ctx, "", args...)
}

// kubectlWith feeds a manifest to kubectl, shown as a person would type it.
func (s *stage) kubectlWith(ctx context.Context, manifest string, args ...string) error {
	say("  $ kubectl %s%s", strings.Join(args, " "), heredoc(manifest))
	output, err := s.quietly(ctx, manifest, args...)
	for line := range strings.Lines(output) {
		fmt.Print("    " + line)
	}
	return err
}

func heredoc(manifest string) string {
	if manifest == "" {
		return ""
	}
	return " <<EOF\n    " + strings.ReplaceAll(strings.TrimSpace(manifest), "\n", "\n    ") + "\n  EOF"
}

// quietly runs kubectl and returns what it prints.
func (s *stage) quietly(ctx context.Context, stdin string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, s.kubectlPath, args...)
	command.Env = append(command.Environ(), "KUBECONFIG="+s.kubeconfig)
	command.Dir = s.root
	command.Stdin = strings.NewReader(stdin)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return output.String(), fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return output.String(), nil
}

// field returns one field of a resource.
func (s *stage) field(ctx context.Context, resource, path string) (string, error) {
	value, err := s.quietly(ctx, "", "get", "-n", namespace, resource, "-o", "jsonpath={"+path+"}")
	return strings.TrimSpace(value), err
}
