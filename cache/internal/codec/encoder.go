// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/cachewright/cachewright/cache/internal/redact"
)

// maxSubjects bounds what is tried. Values of further operations and types are stored untried.
const maxSubjects = 1000

// Encoder encodes values. It refuses those that do not come back: readers would get something else
// from the cache than from the source. To find out, it decodes the first value of
// each operation and type, and then one in many. Once it refused one, it decodes each.
type Encoder struct {
	codec Codec
	every uint64

	mu       sync.Mutex
	subjects map[subject]*trials
}

// subject is what values are tried for.
type subject struct {
	module, operation string
	of                reflect.Type
}

type trials struct {
	values  uint64
	refused bool // one of them
}

// NewEncoder returns an Encoder that decodes one value in so many.
func NewEncoder(codec Codec, every uint64) *Encoder {
	return &Encoder{codec: codec, every: every, subjects: make(map[subject]*trials)}
}

var errKnown = errors.New("an earlier value was refused, too")

// Known reports whether an error is that of a value that does not survive, and not of the first one
// of its operation and type.
func Known(err error) bool { return errors.Is(err, errKnown) }

// Encode encodes a value of an operation. Readers decode it into a type, nil if that is not known.
// The error is ErrCodec if the value cannot be encoded, or does not survive.
func (e *Encoder) Encode(module, operation string, value any, as reflect.Type) ([]byte, error) {
	payload, err := Encode(e.codec, value)
	if err != nil || value == nil {
		return payload, err
	}
	of := subject{module, operation, reflect.TypeOf(value)}
	if !e.isDue(of) {
		return payload, nil
	}
	if loss := lossOf(e.codec, value, payload, as); loss != "" {
		return nil, e.refusal(of, loss)
	}
	return payload, nil
}

// isDue counts a value, and reports whether to try it.
func (e *Encoder) isDue(of subject) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, known := e.subjects[of]
	if !known {
		if len(e.subjects) >= maxSubjects {
			return false
		}
		t = &trials{}
		e.subjects[of] = t
	}
	t.values++
	return t.refused || (t.values-1)%e.every == 0
}

func (e *Encoder) refusal(of subject, loss string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.subjects[of]
	message := fmt.Sprintf("%v: a %v does not survive %T and is not cached: %s",
		ErrCodec, of.of, e.codec, loss)
	if t.refused {
		return redact.New(message, ErrCodec, errKnown)
	}
	t.refused = true
	return redact.New(message, ErrCodec)
}
