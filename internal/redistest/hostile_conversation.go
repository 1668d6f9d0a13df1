// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// errSilent ends a conversation without ending the connection: the client hears nothing more.
var errSilent = errors.New("the rest is silence")

// errGone ends a conversation and the connection.
var errGone = errors.New("the server is gone")

// conversation is one connection of a Hostile server, with the one to Redis that is behind it.
type conversation struct {
	server  *Hostile
	client  net.Conn
	redis   net.Conn
	replies chan []byte   // of Redis, while one is awaited
	over    chan struct{} // closed when the client is gone

	mu      sync.Mutex
	awaited int // replies of Redis
}

// answer answers one call. Without an error the conversation goes on.
func (c *conversation) answer(request []string) error {
	call := callOf(request)
	if way, due := c.server.due(call); due {
		return way.answer(&exchange{conversation: c, request: request})
	}
	if reply, own := c.server.ownAnswer(call); own {
		return c.write([]byte(reply))
	}
	reply, err := c.forward(request)
	if err != nil {
		return err
	}
	return c.write(reply)
}

// forward has Redis answer a call.
func (c *conversation) forward(request []string) ([]byte, error) {
	c.mu.Lock()
	c.awaited++
	c.mu.Unlock()
	if _, err := c.redis.Write(encodeRequest(request)); err != nil {
		return nil, err
	}
	select {
	case reply, open := <-c.replies:
		if !open {
			return nil, errGone
		}
		return reply, nil
	case <-c.server.closed:
		return nil, errGone
	}
}

// relay hands each reply of Redis to who awaits it, and to the client what nobody does: messages and pushes.
func (c *conversation) relay() {
	defer close(c.replies)
	replies := bufio.NewReader(c.redis)
	for {
		reply, err := readFrame(replies)
		if err != nil {
			return
		}
		if !c.isAwaited() {
			if c.write(reply) != nil {
				return
			}
			continue
		}
		select {
		case c.replies <- reply:
		case <-c.over:
			return
		}
	}
}

func (c *conversation) isAwaited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.awaited == 0 {
		return false
	}
	c.awaited--
	return true
}

func (c *conversation) write(reply []byte) error {
	_, err := c.client.Write(reply)
	return err
}

// exchange is a call that is to be answered in a way of its own.
type exchange struct {
	*conversation

	request []string
}

// real is what Redis, or a well-behaved server of the role, answers.
func (e *exchange) real() ([]byte, error) {
	if reply, own := e.server.ownAnswer(callOf(e.request)); own {
		return []byte(reply), nil
	}
	return e.forward(e.request)
}

// pause returns errGone where the server was closed meanwhile.
func (e *exchange) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-e.server.closed:
		return errGone
	}
}

const (
	// most bounds what one answer takes: far more than anybody should read.
	most = 1 << 30
	// brisk is how much of an answer comes as fast as it is read. The rest comes slower, so that a server which never ends
	// leaves the machine to those whom it is to disturb.
	brisk      = 64 << 20
	briskPiece = 256 << 10
	slowPause  = 10 * time.Millisecond
)

// stream writes a beginning, then a piece again and again, so many times or until much is written.
func (e *exchange) stream(beginning, piece string, times int) error {
	out := bufio.NewWriterSize(e.client, 1<<16)
	if _, err := io.WriteString(out, beginning); err != nil {
		return err
	}
	paused := brisk
	for written := 0; times > 0 && written < most; times-- {
		n, err := io.WriteString(out, piece)
		if err != nil {
			return err
		}
		written += n
		if written > paused+briskPiece {
			paused = written
			if err := e.pause(slowPause); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}
