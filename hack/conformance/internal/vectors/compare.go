// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package vectors

import (
	"encoding/json"
	"fmt"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
)

// Tokens are those that a script has saved, by name.
type Tokens map[string]driver.Bytes

// Arguments returns those of a step. A saved token takes the place of its name.
func (t Tokens) Arguments(step Step) ([]driver.Bytes, error) {
	args := make([]driver.Bytes, len(step.Args))
	for i, arg := range step.Args {
		switch arg := arg.(type) {
		case string:
			args[i] = driver.Bytes(arg)
		case map[string]any:
			name, _ := arg["token"].(string)
			token, saved := t[name]
			if !saved {
				return nil, fmt.Errorf("the vector uses the token %q before it saves it", name)
			}
			args[i] = token
		default:
			return nil, fmt.Errorf("argument %d of the vector is neither text nor a token", i)
		}
	}
	return args, nil
}

// Compare compares the reply to a step with what the step wants, and saves tokens. A reply consists
// of json.Number, text in hex, nil and lists.
func (t Tokens) Compare(step Step, got any) error {
	if step.Map != nil {
		return compareFigures(got, step.Map)
	}
	return t.compare(got, step.Reply)
}

func (t Tokens) compare(got, want any) error {
	switch want := want.(type) {
	case nil:
		if got == nil {
			return nil
		}
	case string:
		if found, err := text(got); err == nil && found == want {
			return nil
		}
	case json.Number:
		if number, ok := got.(json.Number); ok && number == want {
			return nil
		}
	case map[string]any:
		return t.compareSpecial(got, want)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			break
		}
		for i := range want {
			if err := t.compare(list[i], want[i]); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	}
	return fmt.Errorf("got %s, want %s", Readable(got), readableWish(want))
}

func (t Tokens) compareSpecial(got any, want map[string]any) error {
	if name, ok := want["save"].(string); ok {
		token, err := text(got)
		if err != nil || len(token) < 2 {
			return fmt.Errorf("got %s, want a token", Readable(got))
		}
		t[name] = driver.Bytes(token)
		return nil
	}
	if name, ok := want["token"].(string); ok {
		if token, err := text(got); err != nil || token != string(t[name]) {
			return fmt.Errorf("got %s, want %q, which the vector saved as %s", Readable(got), t[name], name)
		}
		return nil
	}
	limits, _ := want["between"].([]any)
	if len(limits) != 2 {
		return fmt.Errorf("the vector wants %v, which this program does not know", want)
	}
	number, _ := got.(json.Number)
	n, err := number.Int64()
	low, lowErr := limits[0].(json.Number).Int64()
	high, highErr := limits[1].(json.Number).Int64()
	if err != nil || lowErr != nil || highErr != nil || n < low || n > high {
		return fmt.Errorf("got %s, want %v to %v", Readable(got), limits[0], limits[1])
	}
	return nil
}

func compareFigures(got any, want map[string]json.Number) error {
	fields, _ := got.([]any)
	figures := map[string]any{}
	for i := 0; i+1 < len(fields); i += 2 {
		name, err := text(fields[i])
		if err != nil {
			return err
		}
		figures[name] = fields[i+1]
	}
	for name, value := range want {
		if figures[name] != value {
			return fmt.Errorf("%s: got %s, want %s", name, Readable(figures[name]), value)
		}
	}
	return nil
}

// text returns a string of a reply, which is in hex.
func text(got any) (string, error) {
	hex, ok := got.(string)
	if !ok {
		return "", fmt.Errorf("got %s, want a string", Readable(got))
	}
	var raw driver.Bytes
	err := raw.UnmarshalText([]byte(hex))
	return string(raw), err
}

// Readable shows a reply to people.
func Readable(got any) string {
	switch got := got.(type) {
	case nil:
		return "nothing"
	case string:
		if raw, err := text(got); err == nil {
			return fmt.Sprintf("%.300q", raw)
		}
		return fmt.Sprintf("%.300q, which is not hex", got)
	case []any:
		elements := make([]string, len(got))
		for i, element := range got {
			elements[i] = Readable(element)
		}
		return fmt.Sprint(elements)
	default:
		return fmt.Sprint(got)
	}
}

func readableWish(want any) string {
	shown, err := json.Marshal(want)
	if err != nil {
		return fmt.Sprint(want)
	}
	return fmt.Sprintf("%.300s", shown)
}
