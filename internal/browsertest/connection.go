// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package browsertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/internal/testserver"
)

var errEnded = errors.New("the browser ended")

// connection carries calls to a browser, and its answers.
type connection struct {
	cmd  *exec.Cmd
	to   *os.File
	from *os.File
	log  *testserver.Log

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	ended   chan struct{}
}

type call struct {
	ID      int    `json:"id"`
	Session string `json:"sessionId,omitempty"`
	Method  string `json:"method"`
	Params  any    `json:"params,omitempty"`
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func newConnection(cmd *exec.Cmd, to, from *os.File) *connection {
	return &connection{
		cmd: cmd, to: to, from: from, log: testserver.NewLog("DevTools listening"),
		waiting: map[int]chan answer{}, ended: make(chan struct{}),
	}
}

// receive hands answers to their callers until the browser ends. Messages end with a zero byte.
func (c *connection) receive() {
	defer close(c.ended)
	for messages := bufio.NewReader(c.from); ; {
		message, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var a answer
		if json.Unmarshal(message[:len(message)-1], &a) != nil || a.ID == 0 {
			continue // an event
		}
		c.mu.Lock()
		waiting := c.waiting[a.ID]
		delete(c.waiting, a.ID)
		c.mu.Unlock()
		if waiting != nil {
			waiting <- a
		}
	}
}

// do calls a method, and decodes its result into out unless that is nil.
func (c *connection) do(session, method string, params, out any) error {
	waiting := make(chan answer, 1)
	c.mu.Lock()
	c.last++
	message, err := json.Marshal(call{ID: c.last, Session: session, Method: method, Params: params})
	c.waiting[c.last] = waiting
	if err == nil {
		_, err = c.to.Write(append(message, 0))
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a := <-waiting:
		if a.Error != nil {
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Result, out)
	case <-c.ended:
		return fmt.Errorf("%s: %w", method, errEnded)
	case <-time.After(timeout):
		return fmt.Errorf("%s: no answer after %s", method, timeout)
	}
}

// close ends the browser and all its processes.
func (c *connection) close() {
	_ = c.do("", "Browser.close", nil, nil)
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	_ = c.cmd.Wait()
	_, _ = c.to.Close(), c.from.Close()
}
