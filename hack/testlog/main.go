// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Command testlog reads the events of "go test -json" and prints one line a package. Of a package
// that fails it prints the output, without that of the tests that passed. At the end it says once
// more which tests failed and why, because logs of servers are long. With -v it prints all output
// as it comes.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// event is an event of "go test -json", or of a build.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// printed is what a test, or a package outside its tests, has printed.
type printed struct{ test, text string }

// log keeps the output of the packages that have not ended.
type log struct {
	to      io.Writer
	verbose bool
	kept    map[string][]printed
	reasons []string // of tests that failed, each with its test
}

// maxReasons of a test are said once more.
const maxReasons = 5

// reason is a line in which a test says why it failed, with its place in the code.
var reason = regexp.MustCompile(`^\s+\w+_test\.go:\d+: .`)

func main() {
	verbose := flag.Bool("v", false, "print all output as it comes")
	flag.Parse()
	l := &log{to: os.Stdout, verbose: *verbose, kept: map[string][]printed{}}
	if err := l.copy(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "reading the events of go test:", err)
		os.Exit(1)
	}
}

// copy handles events until the input ends. It prints lines that are no events as they are.
func (l *log) copy(from io.Reader) error {
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadString('\n')
		var e event
		switch {
		case line == "":
		case json.Unmarshal([]byte(line), &e) != nil:
			fmt.Fprint(l.to, line)
		default:
			l.handle(e)
		}
		if err == io.EOF {
			l.sayWhy()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *log) handle(e event) {
	switch e.Action {
	case "build-output":
		fmt.Fprint(l.to, e.Output)
	case "output":
		if l.verbose {
			fmt.Fprint(l.to, e.Output)
			return
		}
		l.kept[e.Package] = append(l.kept[e.Package], printed{e.Test, e.Output})
	case "pass", "skip", "fail":
		switch {
		case e.Test == "":
			l.end(e)
		case e.Action == "fail":
			l.note(e.Package, e.Test)
		default:
			l.forget(e.Package, e.Test)
		}
	}
}

// note keeps the reasons why a test failed.
func (l *log) note(pkg, test string) {
	found := 0
	for _, p := range l.kept[pkg] {
		if p.test == test && found < maxReasons && reason.MatchString(p.text) {
			l.reasons = append(l.reasons, test+": "+strings.TrimSpace(p.text))
			found++
		}
	}
}

// sayWhy prints the reasons of all tests that failed.
func (l *log) sayWhy() {
	if len(l.reasons) > 0 {
		fmt.Fprintf(l.to, "What failed, in short:\n%s\n", strings.Join(l.reasons, "\n"))
	}
}

// forget drops what a test printed.
func (l *log) forget(pkg, test string) {
	var rest []printed
	for _, p := range l.kept[pkg] {
		if p.test != test {
			rest = append(rest, p)
		}
	}
	l.kept[pkg] = rest
}

// words say how a package ended: skip means that it has no tests to run.
var words = map[string]string{"pass": "ok  ", "skip": "none", "fail": "FAIL"}

// end prints how a package ended.
func (l *log) end(e event) {
	if e.Action == "fail" {
		for _, p := range l.kept[e.Package] {
			fmt.Fprint(l.to, p.text)
		}
	}
	delete(l.kept, e.Package)
	name := strings.TrimPrefix(e.Package, "github.com/cachewright/cachewright/")
	fmt.Fprintf(l.to, "%s %6.1f s  %s\n", words[e.Action], e.Elapsed, name)
}
