// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// errSilent ends a conversation and keeps the connection open. The client receives nothing more.
var errSilent = errors.New("no further answers")

// errGone ends a conversation and the connection.
var errGone = errors.New("the server is gone")

// conversation is one connection of a Server, with its connection to Redis.
type conversation struct {
	server  *Server
	client  net.Conn
	redis   net.Conn
	replies chan []byte   // of Redis, while a call waits for one
	over    chan struct{} // closed when the client has disconnected

	mu      sync.Mutex
	awaited int // the number of replies that calls wait for
}

// answer answers one call. If it returns no error, the conversation continues.
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

// forward sends a call to Redis and returns the reply.
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

// relay passes each reply of Redis to the call that waits for it. Messages and pushes go to the
// client.
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

// exchange is a call to which the fault applies.
type exchange struct {
	*conversation

	request []string
}

// real returns the answer of Redis, or of a well-behaved server of the role.
func (e *exchange) real() ([]byte, error) {
	if reply, own := e.server.ownAnswer(callOf(e.request)); own {
		return []byte(reply), nil
	}
	return e.forward(e.request)
}

// pause waits for a duration. It returns errGone if the server is closed meanwhile.
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
	// maxAnswer limits the bytes of one answer to far more than any client should read.
	maxAnswer = 1 << 30
	// brisk is how many bytes of an answer are sent at full speed. The rest is sent slower, so that
	// an endless answer leaves CPU time to the tests.
	brisk      = 64 << 20
	briskPiece = 256 << 10
	blockSize  = 16 << 10 // bytes that are written at once
	slowPause  = 10 * time.Millisecond
)

// stream writes a beginning, then a piece repeatedly: the given number of times, or until the
// limit.
func (e *exchange) stream(beginning, piece string, times int) error {
	out := bufio.NewWriterSize(e.client, 1<<16)
	if _, err := io.WriteString(out, beginning); err != nil {
		return err
	}
	// Many pieces are written at once: a million writes would cost more than what is tested.
	paused, atOnce := brisk, max(1, min(times, blockSize/max(1, len(piece))))
	block := strings.Repeat(piece, atOnce)
	for written := 0; times > 0 && written < maxAnswer; times -= atOnce {
		atOnce = min(atOnce, times)
		n, err := io.WriteString(out, block[:atOnce*len(piece)])
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
