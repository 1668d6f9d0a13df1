// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	redis   string
	addr    string
	resp    int
	only    *regexp.Regexp
	list    bool
	verbose bool
	limit   time.Duration
	vectors string
	acl     string
	command []string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: conformance [flags] command of the driver")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.redis, "redis", "single", "the kind of Redis: single or cluster")
	flags.StringVar(&o.addr, "addr", "",
		"addresses of servers to use, host:port, with commas in between; default: starts its own")
	flags.IntVar(&o.resp, "resp", 2,
		"the version of the protocol of Redis that the client is to use: 2 or 3")
	flags.StringVar(&only, "run", "", "a regular expression: play the cases whose names it matches")
	flags.BoolVar(&o.list, "list", false, "print the names of the cases, and play none")
	flags.BoolVar(&o.verbose, "v", false, "print each case")
	flags.DurationVar(&o.limit, "limit", 10*time.Second, "how long an answer of the driver may take")
	flags.StringVar(&o.vectors, "vectors", "docs/protocol-vectors.json", "the file of the vectors")
	flags.StringVar(&o.acl, "acl", "docs/operations.md",
		"the page with the rights of a tenant, as which the client logs in to the runner's own servers")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.command = flags.Args()
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	return o, o.check()
}

func (o options) check() error {
	switch {
	case o.redis != "single" && o.redis != "cluster":
		return fmt.Errorf("-redis is single or cluster, not %q", o.redis)
	case o.resp != 2 && o.resp != 3:
		return fmt.Errorf("-resp is 2 or 3, not %d", o.resp)
	case len(o.command) == 0 && !o.list:
		return errors.New("say which command runs the driver, for example: node driver.mjs")
	}
	return nil
}

func (o options) addresses() []string { return strings.Split(o.addr, ",") }
