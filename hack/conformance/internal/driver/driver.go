// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package driver speaks with the driver of a client: one request a line, and one answer a line. The
// lines are JSON. docs/clients.md says what a driver is asked.
package driver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxLine bounds a line in either direction, in bytes.
const MaxLine = 1 << 20

// ErrBroken says that the driver does not follow the protocol, was too slow or has ended. It cannot
// be asked any more.
var ErrBroken = errors.New("the driver is of no use any more")

// Unsupported says that the client has no such function. The text is the driver's reason.
type Unsupported string

func (u Unsupported) Error() string { return "not supported: " + string(u) }

// IsUnsupported says whether an error is Unsupported.
func IsUnsupported(err error) bool {
	var unsupported Unsupported
	return errors.As(err, &unsupported)
}

// Failed says that a function of the client failed. The text is its error.
type Failed string

func (f Failed) Error() string { return "the client failed: " + string(f) }

// Driver is a conversation with one driver. Its methods must not be called concurrently.
type Driver struct {
	requests io.WriteCloser
	answers  chan []byte // closed when there are no more; then ended says why
	ended    error
	limit    time.Duration
	last     int   // the number of the last request
	broken   error // nil: the driver can be asked
	// end ends the driver, which may take until grace is over. words are what it said besides.
	end   func(grace time.Duration) error
	words func() string
}

// New returns a conversation over two streams. limit is how long an answer may take.
func New(requests io.WriteCloser, answers io.Reader, limit time.Duration) *Driver {
	d := &Driver{
		requests: requests, answers: make(chan []byte), limit: limit,
		end:   func(time.Duration) error { return requests.Close() },
		words: func() string { return "" },
	}
	go d.receive(answers)
	return d
}

func (d *Driver) receive(answers io.Reader) {
	defer close(d.answers)
	lines := bufio.NewScanner(answers)
	lines.Buffer(nil, MaxLine)
	for lines.Scan() {
		d.answers <- append([]byte(nil), lines.Bytes()...)
	}
	d.ended = errors.New("it ended without an answer")
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		d.ended = fmt.Errorf("a line of its answers has more than %d bytes", MaxLine)
	} else if err != nil {
		d.ended = fmt.Errorf("reading its answer: %w", err)
	}
}

// Fields are those of a request.
type Fields map[string]any

// Ask sends a request and decodes the answer into a pointer to a struct. The error is Unsupported,
// Failed or ErrBroken.
func (d *Driver) Ask(ctx context.Context, do string, fields Fields, answer any) error {
	return d.AskWhile(ctx, do, fields, answer, func(<-chan struct{}) {})
}

// AskWhile does what Ask does, and calls meanwhile after it sent the request. It passes a channel
// that is closed once the answer is there.
func (d *Driver) AskWhile(ctx context.Context, do string, fields Fields, answer any,
	meanwhile func(answered <-chan struct{}),
) error {
	if d.broken != nil {
		return d.broken
	}
	if err := d.send(do, fields); err != nil {
		return d.breaks(do, err)
	}
	var line []byte
	var err error
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		line, err = d.await(ctx)
	}()
	meanwhile(answered)
	<-answered
	if err != nil {
		return d.breaks(do, err)
	}
	said, err := decode(line, d.last, answer)
	if err != nil {
		return d.breaks(do, err)
	}
	return said
}

// breaks ends the driver for a reason, and returns that with the last words of the driver.
func (d *Driver) breaks(do string, reason error) error {
	reason = fmt.Errorf("%w: asked to %s, %w", ErrBroken, do, reason)
	_ = d.close(0)
	if words := d.words(); words != "" {
		reason = fmt.Errorf("%w\nits last words on standard error:\n%s", reason, words)
	}
	d.broken = reason
	return reason
}

func (d *Driver) send(do string, fields Fields) error {
	line, err := encode(d.last+1, do, fields)
	if err != nil {
		return err
	}
	d.last++
	sent := make(chan error, 1)
	go func() {
		_, err := d.requests.Write(line)
		sent <- err
	}()
	select {
	case err := <-sent:
		if err != nil {
			return fmt.Errorf("it reads no requests: %w", err)
		}
		return nil
	case <-time.After(d.limit):
		return fmt.Errorf("it did not read the request within %s", d.limit)
	}
}

func (d *Driver) await(ctx context.Context) ([]byte, error) {
	select {
	case line, more := <-d.answers:
		if !more {
			return nil, d.ended
		}
		return line, nil
	case <-time.After(d.limit):
		return nil, fmt.Errorf("it did not answer within %s", d.limit)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the driver. An error says that it did not end in order when its input ended.
func (d *Driver) Close() error {
	var err error
	if d.broken == nil {
		err, d.broken = d.close(d.limit), ErrBroken
	}
	return err
}

func (d *Driver) close(grace time.Duration) error {
	go func() {
		for range d.answers { // lets receive end
		}
	}()
	return d.end(grace)
}
