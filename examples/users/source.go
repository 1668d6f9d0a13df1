// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// User is a row of the source.
type User struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// source stands for the database of the application: always right, but slow.
type source struct {
	latency time.Duration
	queries atomic.Int64

	mu    sync.Mutex
	users map[string]User
}

func newSource(latency time.Duration, count int) *source {
	s := &source{latency: latency, users: map[string]User{}}
	for i := range count {
		id := fmt.Sprintf("user-%d", i)
		s.users[id] = User{ID: id, Name: fmt.Sprintf("User %d", i), Email: id + "@example.com"}
	}
	return s
}

// query takes its time, as a database does.
func (s *source) query(ctx context.Context) error {
	s.queries.Add(1)
	select {
	case <-time.After(s.latency):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *source) byID(ctx context.Context, id string) (User, error) {
	if err := s.query(ctx); err != nil {
		return User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, found := s.users[id]
	if !found {
		return User{}, fmt.Errorf("%w: %s", errNoSuchUser, id)
	}
	return user, nil
}

func (s *source) page(ctx context.Context, page int) ([]User, error) {
	if err := s.query(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var users []User
	for i := page * pageSize; i < (page+1)*pageSize; i++ {
		if user, found := s.users[fmt.Sprintf("user-%d", i)]; found {
			users = append(users, user)
		}
	}
	return users, nil
}

func (s *source) rename(ctx context.Context, id, name string) error {
	if err := s.query(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, found := s.users[id]
	if !found {
		return fmt.Errorf("%w: %s", errNoSuchUser, id)
	}
	user.Name = name
	s.users[id] = user
	return nil
}
