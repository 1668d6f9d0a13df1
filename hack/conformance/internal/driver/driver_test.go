// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
)

// limit is long enough for a busy machine, but where a driver is to be too slow.
const limit = 20 * time.Second

// answering returns a conversation with a driver that gives one answer to whatever it is asked.
func answering(t *testing.T, line string) *driver.Driver {
	t.Helper()
	requests, asks := io.Pipe()
	answers, answer := io.Pipe()
	go func() {
		_, _ = requests.Read(make([]byte, driver.MaxLine))
		_, _ = io.WriteString(answer, line)
		_ = answer.Close()
	}()
	d := driver.New(asks, answers, limit)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

type payload struct{ Payload *driver.Bytes }

func TestAnAnswerIsDecoded(t *testing.T) {
	var got payload
	if err := answering(t, `{"n": 1, "payload": "00Ff"}`+"\n").Ask(t.Context(), "fetch", nil, &got); err != nil || *got.Payload != "\x00\xff" {
		t.Errorf("got %q (%v)", *got.Payload, err)
	}
}

func TestADriverMaySayWhatItsClientDoesNotDo(t *testing.T) {
	err := answering(t, `{"n": 1, "unsupported": "why"}`+"\n").Ask(t.Context(), "put", nil, &payload{})
	var unsupported driver.Unsupported
	if !errors.As(err, &unsupported) || unsupported != "why" {
		t.Errorf("got %v", err)
	}
	err = answering(t, `{"n": 1, "error": "why"}`+"\n").Ask(t.Context(), "put", nil, &payload{})
	var failed driver.Failed
	if !errors.As(err, &failed) || failed != "why" {
		t.Errorf("got %v", err)
	}
}

// What is no answer ends the conversation, and the error says what came and what was wanted.
func TestADriverThatBreaksTheProtocolIsNotAskedAgain(t *testing.T) {
	for line, says := range map[string]string{
		"connected\n":                         `it printed "connected" instead of an answer`,
		"[]\n":                                `it printed "[]" instead of an answer`,
		"null\n":                              `it printed "null" instead of an answer`,
		"{}\n":                                "the answer to this request has n 1",
		"{\"n\": 2}\n":                        "the answer to this request has n 1",
		"{\"n\": \"1\"}\n":                    "the answer to this request has n 1",
		"{\"n\": 1, \"error\": 5}\n":          "error is a text",
		"{\"n\": 1, \"payload\": \"g0\"}\n":   "bytes are in hex",
		"{\"n\": 1, \"payload\": \"0\"}\n":    "bytes are in hex",
		"{\"n\": 1, \"paylod\": \"00\"}\n":    `unknown field "paylod"`,
		"":                                    "it ended without an answer",
		strings.Repeat("x", driver.MaxLine+1): "a line of its answers has more than 1048576 bytes",
	} {
		d := answering(t, line)
		err := d.Ask(t.Context(), "fetch", nil, &payload{})
		if !errors.Is(err, driver.ErrBroken) || !strings.Contains(err.Error(), "asked to fetch, ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: got %v, want %s", line, err, says)
		}
		if again := d.Ask(t.Context(), "fetch", nil, &payload{}); !errors.Is(again, driver.ErrBroken) {
			t.Errorf("%.40q: asked again, got %v", line, again)
		}
	}
}

func start(t *testing.T, limit time.Duration, script string) *driver.Driver {
	t.Helper()
	d, err := driver.Start([]string{"sh", "-c", script}, limit)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADriverThatIsTooSlowIsKilled(t *testing.T) {
	d := start(t, 50*time.Millisecond, "echo the last words >&2; sleep 1000 & wait")
	err := d.Ask(t.Context(), "fetch", nil, &payload{})
	if !errors.Is(err, driver.ErrBroken) || !strings.Contains(err.Error(), "it did not answer within 50ms") {
		t.Errorf("got %v", err)
	}
}

func TestTheLastWordsOfADriverAreShown(t *testing.T) {
	d := start(t, limit, "read line; echo the last words >&2; exit 3")
	if err := d.Ask(t.Context(), "fetch", nil, &payload{}); err == nil || !strings.Contains(err.Error(), "the last words") {
		t.Errorf("got %v", err)
	}
}

func TestADriverEndsWithItsInput(t *testing.T) {
	const answer = `read line; echo '{"n": 1}'; `
	for script, says := range map[string]string{
		answer + "read line || :":      "",
		answer + "read line || exit 3": "exit status 3",
		answer + "exec sleep 1000":     "did not end within",
	} {
		d := start(t, 2*time.Second, script)
		if err := d.Ask(t.Context(), "open", nil, &payload{}); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", script, err, says)
		}
	}
}

func TestARequestThatIsTooLongIsNotSent(t *testing.T) {
	d := answering(t, "")
	fields := driver.Fields{"payload": driver.Bytes(strings.Repeat("x", driver.MaxLine))}
	if err := d.Ask(t.Context(), "put", fields, &payload{}); err == nil || !strings.Contains(err.Error(), "the request has more than") {
		t.Errorf("got %v", err)
	}
}
