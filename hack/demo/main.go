// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The demo runs a real API server, a real Redis, the operator and a small application on this
// machine. It tells a story in which each step checks what it claims. "make demo" runs it.
//
// It stays up for you to try things, and prints hints. With DEMO_EXIT=1 it tries each hint itself
// and ends, with status 0 only if every step and every hint succeeded.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// storyDeadline limits the story: a step that hangs fails.
const storyDeadline = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// without a logger, controller-runtime prints a trace after half a minute
	log.SetLogger(logr.Discard())
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	began := time.Now()
	stage, err := build(ctx)
	if err != nil {
		return err
	}
	defer stage.tearDown()

	story, cancel := context.WithTimeout(ctx, storyDeadline)
	defer cancel()
	if err := stage.tell(story); err != nil {
		stage.showLogs()
		return err
	}
	say("\nEvery step succeeded, in %s.", time.Since(began).Round(time.Second))
	if os.Getenv("DEMO_EXIT") == "1" {
		return stage.tryHints(story)
	}
	stage.showHints()
	<-ctx.Done()
	return nil
}
