// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The program image builds the operator's image for several platforms, without a container engine.
//
//	go run . -source ../.. -output operator.tar -version v1.2.3
//
// It compiles the operator, and makes an index of images from nothing: no shell, no package
// manager, no base image. The output is an OCI layout: a folder, or one file if its name ends with
// ".tar". Beside it is a bill of materials for each platform. With -push, the index goes to a
// registry.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

// settings are what the flags say.
type settings struct {
	source, output, push string
	binaries             string
	roots                string
	platforms            []string
	release              release
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&s.source, "source", ".", "The checkout to compile the operator from.")
	flags.StringVar(&s.output, "output", "", "The OCI layout to write: a folder, or a file whose "+
		"name ends with .tar. It must not exist.")
	flags.StringVar(&s.push, "push", "", "The name under which a registry gets the image, such as "+
		"registry.example.com/cachewright/operator:v1.2.3. Credentials are those of docker login.")
	flags.StringVar(&s.binaries, "binaries", "", "A folder for the operator's binaries, "+
		"operator-linux-amd64 and so on. It must exist.")
	flags.StringVar(&s.roots, "ca-certificates", "/etc/ssl/certs/ca-certificates.crt",
		"The certificate authorities that the operator trusts.")
	flags.StringVar(&s.release.version, "version", "dev", "The version that the operator reports.")
	flags.StringVar(&s.release.commit, "commit", "", "The commit that the operator reports.")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "What to build for.")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.platforms = strings.Split(*platforms, ",")
	if s.output == "" && s.push == "" {
		return s, errors.New("there is nowhere to write to: set -output, -push, or both")
	}
	return s, nil
}

func run(ctx context.Context, s settings) error {
	if _, err := os.Stat(s.output); s.output != "" && err == nil {
		return fmt.Errorf("%s exists already: remove it, or choose another -output", s.output)
	}
	roots, err := os.ReadFile(s.roots)
	if err != nil {
		return fmt.Errorf("reading the certificate authorities: %w: set -ca-certificates", err)
	}
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	builds := make([]build, 0, len(s.platforms))
	for _, name := range s.platforms {
		binary := filepath.Join(cmp.Or(s.binaries, dir), "operator-"+strings.ReplaceAll(name, "/", "-"))
		b, err := compile(ctx, s, name, binary)
		if err != nil {
			return err
		}
		builds = append(builds, b)
	}
	index, err := indexOf(builds, roots, s.release)
	if err != nil {
		return err
	}
	if s.output != "" {
		if err := write(index, builds, s.output); err != nil {
			return fmt.Errorf("writing %s: %w", s.output, err)
		}
	}
	if s.push != "" {
		return push(ctx, index, s.push)
	}
	return nil
}
