// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// The endpoints of a client over Redis: what they purge is gone for other clients, and without Redis
// they say so.
func TestOverRedis(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	slot := registry.Slot{Namespace: "shop", Module: "users"}
	if _, err := registry.New(client).ApplyPolicy(t.Context(), slot, registry.Policy{DefaultTTL: new(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	open := func() *cache.Client {
		c, err := cache.New(client, "shop", cache.WithTimeout(time.Minute), cache.WithInvalidationTimeout(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours, other := open(), open()
	h := mount(t, ours)
	key := cache.Key{Module: "users", Operation: "getById", Params: 7, User: "jane@example.com"}
	if err := other.Set(t.Context(), key, "x"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/stats", "/module/users"} {
		answer := call(t, h, http.MethodGet, path, "")
		if body := answer.Body.String(); answer.Code != http.StatusOK || !strings.Contains(body, "getById") || strings.Contains(body, "jane") {
			t.Error(path, answer.Code, body)
		}
	}
	if answer := call(t, h, http.MethodPost, "/user", "user=jane@example.com"); answer.Code != http.StatusOK {
		t.Error(answer.Code, answer.Body)
	}
	var value string
	if found, err := other.Get(t.Context(), key, &value); found || err != nil {
		t.Error("the purged entry is there:", found, err)
	}
	server.Kill()
	if answer := call(t, h, http.MethodDelete, "/module/users/user/jane@example.com", ""); answer.Code != http.StatusAccepted || strings.Contains(answer.Body.String(), "jane") {
		t.Error(answer.Code, answer.Body)
	}
	if answer := call(t, h, http.MethodGet, "/stats", ""); answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "Redis does not answer") {
		t.Error(answer.Code, answer.Body)
	}
}
