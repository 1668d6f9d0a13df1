// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
)

// lastWords is how many of the last bytes of a driver's standard error are kept.
const lastWords = 4096

// Start runs a command as a driver. limit is how long an answer may take, and how long the process
// may take to end when its input has ended.
func Start(command []string, limit time.Duration) (*Driver, error) {
	process := exec.Command(command[0], command[1:]...)
	process.SysProcAttr = detached.Attributes()
	said := &tail{}
	process.Stderr = said
	requests, inErr := process.StdinPipe()
	answers, outErr := process.StdoutPipe()
	if err := errors.Join(inErr, outErr, process.Start()); err != nil {
		return nil, fmt.Errorf("starting the driver %s: %w", strings.Join(command, " "), err)
	}
	d := New(requests, answers, limit)
	d.words = said.String
	d.end = func(grace time.Duration) error {
		_ = requests.Close()
		return end(process, grace)
	}
	return d, nil
}

// end waits for a process whose input has ended, and kills it, with its children, after the grace.
func end(process *exec.Cmd, grace time.Duration) error {
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = process.Wait()
	}()
	select {
	case <-ended:
		if err != nil {
			return fmt.Errorf("the driver ended: %w", err)
		}
		return nil
	case <-time.After(grace):
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
		<-ended
		return fmt.Errorf("the driver did not end within %s after its input had", grace)
	}
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(chunk []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, chunk...)
	t.text = t.text[max(0, len(t.text)-lastWords):]
	return len(chunk), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
