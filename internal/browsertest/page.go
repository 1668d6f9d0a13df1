// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package browsertest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// Page is a page of a browser. Its methods end the test if they fail.
type Page struct {
	t          testing.TB
	connection *connection
	session    string
}

// attach opens the page.
func (p *Page) attach() error {
	var target struct {
		ID string `json:"targetId"`
	}
	err := p.connection.do("", "Target.createTarget",
		map[string]any{"url": "about:blank"}, &target)
	if err != nil {
		return err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	err = p.connection.do("", "Target.attachToTarget",
		map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	p.session = attached.Session
	return err
}

func (p *Page) must(method string, params, out any) {
	p.t.Helper()
	if err := p.connection.do(p.session, method, params, out); err != nil {
		p.t.Fatal(err)
	}
}

// Visit loads an address, and waits until it is shown.
func (p *Page) Visit(url string) {
	p.t.Helper()
	var result struct {
		Error string `json:"errorText"`
	}
	p.must("Page.navigate", map[string]any{"url": url}, &result)
	if result.Error != "" {
		p.t.Fatalf("visiting %s: %s", url, result.Error)
	}
	p.Wait("document.readyState === 'complete' && location.href !== 'about:blank'")
}

// Evaluate returns the value of an expression in the page, whatever its policy says about scripts.
func (p *Page) Evaluate(expression string, out any) {
	p.t.Helper()
	value, err := p.evaluate(expression)
	if err == nil {
		err = json.Unmarshal(value, out)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *Page) evaluate(expression string) (json.RawMessage, error) {
	var evaluated struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	err := p.connection.do(p.session, "Runtime.evaluate",
		map[string]any{"expression": expression, "returnByValue": true, "userGesture": true}, &evaluated)
	if err == nil && evaluated.Exception != nil {
		err = fmt.Errorf("%s: %s", expression, evaluated.Exception.Exception.Description)
	}
	return evaluated.Result.Value, err
}

// Wait waits until an expression is true, also while the page changes to another one.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		value, err := p.evaluate("Boolean(" + expression + ")")
		if err == nil && string(value) == "true" {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("not true after %s: %s (%v)\n%s", timeout, expression, err, p.Text())
		}
	}
}

// Text is the text that the page shows.
func (p *Page) Text() (text string) {
	p.t.Helper()
	p.Evaluate("document.body.innerText", &text)
	return text
}

// Click clicks an element in its middle, as a mouse does. It must be visible.
func (p *Page) Click(selector string) {
	p.t.Helper()
	quoted, _ := json.Marshal(selector)
	var at struct{ X, Y float64 }
	p.Evaluate(fmt.Sprintf(`(() => {
		const element = document.querySelector(%s)
		if (!element || !element.checkVisibility()) throw new Error('there is no such element to see')
		element.scrollIntoView({block: 'center', behavior: 'instant'})
		const box = element.getBoundingClientRect()
		return {X: box.x + box.width / 2, Y: box.y + box.height / 2}
	})()`, quoted), &at)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.must("Input.dispatchMouseEvent",
			map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// Type types a text where the focus is.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.must("Input.insertText", map[string]any{"text": text}, nil)
}

// Picture returns the whole page as PNG.
func (p *Page) Picture() (png []byte) {
	p.t.Helper()
	var shot struct{ Data []byte }
	p.must("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	return shot.Data
}
