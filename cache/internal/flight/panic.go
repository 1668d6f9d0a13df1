// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Panic carries the value and the place of a panic in a loader to the goroutine of its caller.
type Panic struct {
	value  any
	stack  []byte
	frames []uintptr
}

// maxFrames bounds the stack of a Panic.
const maxFrames = 64

// NewPanic returns a Panic for a recovered value, or the value itself if it is a *Panic.
func NewPanic(value any) *Panic {
	if earlier, ok := value.(*Panic); ok {
		return earlier
	}
	frames := make([]uintptr, maxFrames)
	return &Panic{value: value, stack: debug.Stack(), frames: frames[:runtime.Callers(2, frames)]}
}

// Error shows the value and the loader's stack.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap returns the value, if it was an error.
func (p *Panic) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// Redacted names the type of the value and the functions on the stack. It leaves out the value and
// the arguments of functions, which may hold data that must not be logged.
func (p *Panic) Redacted() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%T\n", p.value)
	frames := runtime.CallersFrames(p.frames)
	for more := len(p.frames) > 0; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		fmt.Fprintf(&b, "\n%s\n\t%s:%d", frame.Function, frame.File, frame.Line)
	}
	return b.String()
}
