// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Programs of examples/database.
const (
	databaseApp = "database-app"
	cacheAside  = "cacheaside"
)

// service is one program in two processes. Both have the same database. The writer reaches Redis
// by a way on which a command can be held up.
type service struct {
	program        string
	reader, writer string // URLs
	process        *os.Process
}

// hit is the X-Cache of what Redis answered.
const hit = "HIT"

// killWriters kills two writers at the same point: the transaction is committed, and what tells
// Redis is on its way.
func (s *stage) killWriters(ctx context.Context) error {
	way, err := startHoldup(ctx, s.redis.Addr())
	if err != nil {
		return err
	}
	plain, ours := &service{program: cacheAside}, &service{program: databaseApp}
	for _, service := range []*service{ours, plain} { // ours makes the table
		if err := s.startService(ctx, service, way); err != nil {
			return err
		}
	}
	if err := plain.killInRename(ctx, way, "\r\ndel\r\n", "user-08", "User 8", "Grace"); err != nil {
		return err
	}
	if err := ours.killInRename(ctx, way, "cw_release", "user-07", "User 7", "Ada"); err != nil {
		return err
	}
	if err := ours.showsTheChange(ctx); err != nil {
		return err
	}
	return showsTheOldName(ctx, plain, ours)
}

func (s *stage) startService(ctx context.Context, service *service, way *holdup) (err error) {
	start := func(redis string) (url string, process *os.Process, err error) {
		addr, err := freeAddr()
		if err != nil {
			return "", nil, err
		}
		url = "http://" + addr
		process, err = s.startOn(redis, service.program, "--addr="+addr,
			"--database="+filepath.Join(s.dir, "users.db"))
		if err != nil {
			return "", nil, err
		}
		return url, process, eventually(ctx, service.program+" to listen", func() error {
			return get(ctx, url+"/users/user-01", nil)
		})
	}
	if service.reader, _, err = start(s.redis.Addr()); err != nil {
		return err
	}
	service.writer, service.process, err = start(way.addr)
	return err
}

// answer is what a reader is told about a user.
type answer struct {
	Name   string `json:"name"`
	xCache string
}

func (s *service) read(ctx context.Context, id string) (a answer, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.reader+"/users/"+id,
		http.NoBody)
	if err != nil {
		return a, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer func() { _ = response.Body.Close() }()
	if err := statusError(response); err != nil {
		return a, err
	}
	a.xCache = response.Header.Get("X-Cache")
	err = json.NewDecoder(response.Body).Decode(&a)
	return a, err
}

// cached waits until a name is answered from Redis.
func (s *service) cached(ctx context.Context, id, name string) error {
	return eventually(ctx, "the cache to have "+name, func() error {
		got, err := s.read(ctx, id)
		if err == nil && got != (answer{Name: name, xCache: hit}) {
			err = fmt.Errorf("%w: %s, %s", errNotYet, got.Name, got.xCache)
		}
		return err
	})
}

// killInRename kills a writer that has committed a new name, once it sends a command to Redis.
func (s *service) killInRename(
	ctx context.Context, way *holdup, command, id, before, after string,
) error {
	if err := s.cached(ctx, id, before); err != nil {
		return err
	}
	url := s.writer + "/users/" + id + "?name=" + after
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, http.NoBody)
	if err != nil {
		return err
	}
	say("  $ curl -X PUT '%s'    # %s, which had %q", url, s.program, before)
	met, answered := way.next(command), make(chan error, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		answered <- err
	}()
	select {
	case <-met:
	case err := <-answered:
		if err != nil {
			return err
		}
		return errors.New("the writer did not tell Redis of its change")
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.process.Kill(); err != nil {
		return err
	}
	say("  $ kill -9 %d    # it has committed %q, and Redis does not know", s.process.Pid, after)
	if err := <-answered; err == nil {
		return errors.New("the writer answered although it was killed")
	}
	return nil
}

// showsTheChange checks that the next reader sees what was committed, and that it is cached again.
func (s *service) showsTheChange(ctx context.Context) error {
	began := time.Now()
	got, err := s.read(ctx, "user-07")
	if err != nil {
		return err
	}
	if got.Name != "Ada" {
		return fmt.Errorf("%s answers %q (%s) after %q was committed", s.program, got.Name,
			got.xCache, "Ada")
	}
	say("  ✓ package repository: the next reader gets %q, X-Cache: %s", got.Name, got.xCache)
	if err := s.cached(ctx, "user-07", "Ada"); err != nil {
		return err
	}
	say("  ✓ the hold of the dead writer ended by itself: cached again after %s",
		time.Since(began).Round(100*time.Millisecond))
	return nil
}

// showsTheOldName checks that cache-aside still answers what was before the commit.
func showsTheOldName(ctx context.Context, plain, ours *service) error {
	inDatabase, err := ours.read(ctx, "user-08")
	if err != nil {
		return err
	}
	got, err := plain.read(ctx, "user-08")
	if err != nil {
		return err
	}
	if inDatabase.Name != "Grace" || got != (answer{Name: "User 8", xCache: hit}) {
		return fmt.Errorf("the database has %q, and cache-aside answers %q (%s)", inDatabase.Name,
			got.Name, got.xCache)
	}
	say("  ✗ cache-aside: the database has %q, and readers get %q, X-Cache: %s. "+
		"It stays so: nobody knows.", inDatabase.Name, got.Name, got.xCache)
	return nil
}
