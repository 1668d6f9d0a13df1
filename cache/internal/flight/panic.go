// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Panic carries the value that a loader panicked with, and where, to the goroutine of its caller.
type Panic struct {
	value  any
	stack  []byte
	frames []uintptr
}

// mostFrames bounds what is told of a stack.
const mostFrames = 64

// NewPanic returns what a deferred function recovered. A value that is a *Panic already is returned as it is.
func NewPanic(value any) *Panic {
	if earlier, ok := value.(*Panic); ok {
		return earlier
	}
	frames := make([]uintptr, mostFrames)
	return &Panic{value: value, stack: debug.Stack(), frames: frames[:runtime.Callers(2, frames)]}
}

// Error shows the value and the loader's stack.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap returns the value, if it was an error.
func (p *Panic) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// Quiet says of which type the value was, and where it came from. Neither the value is in it nor an argument of a
// function, as there are in a stack: they may be what the application must not tell.
func (p *Panic) Quiet() string {
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
