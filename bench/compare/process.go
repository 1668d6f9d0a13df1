// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/cachewright/cachewright/bench/internal/turns"
)

// process is a build that measures rows of a part on request.
type process struct {
	command  *exec.Cmd
	requests io.WriteCloser
	replies  *json.Decoder
	rows     []turns.Row
}

// start runs a build and waits until it has prepared the part.
func start(ctx context.Context, binary, part string) (*process, error) {
	p := &process{command: exec.CommandContext(ctx, binary, "-serve", part)}
	p.command.Stderr = os.Stderr
	var err error
	if p.requests, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	replies, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.replies = json.NewDecoder(replies)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	if err := p.replies.Decode(&p.rows); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the rows of %s: %w", binary, err), p.end())
	}
	return p, nil
}

// measure takes one turn.
func (p *process) measure(row string) (float64, error) {
	if _, err := fmt.Fprintln(p.requests, row); err != nil {
		return 0, err
	}
	var figure turns.Figure
	if err := p.replies.Decode(&figure); err != nil {
		return 0, fmt.Errorf("measuring %s: %w", row, err)
	}
	return figure.Value, nil
}

// end closes the requests. Then the process removes its servers and ends.
func (p *process) end() error {
	return errors.Join(p.requests.Close(), p.command.Wait())
}
