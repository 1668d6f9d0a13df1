// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/registry"
)

func ExampleNew() {
	client, err := registry.ClientFromEnv(os.LookupEnv) // REDIS_HOST, REDIS_PASSWORD, …
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	shop, err := cache.New(client, "shop", cache.WithTimeout(50*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close(context.Background())
}

func ExampleFetch() {
	type User struct{ Name string }
	ctx := context.Background()
	var c cache.Cache = cachetest.New(cachetest.WithDefaultTTL(time.Minute)) // in production the Client of cache.New

	userByID := func(ctx context.Context, id int) (User, error) {
		key := cache.Key{Module: "users", Operation: "getById", Params: id}
		return cache.Fetch(ctx, c, key, func(context.Context) (User, error) {
			fmt.Println("asking the database for user", id)
			return User{Name: "Ada"}, nil
		})
	}
	for range 3 {
		user, err := userByID(ctx, 7)
		fmt.Println(user.Name, err)
	}
	// Output:
	// asking the database for user 7
	// Ada <nil>
	// Ada <nil>
	// Ada <nil>
}

func ExampleCache_invalidate() {
	ctx := context.Background()
	var c cache.Cache = cachetest.New(cachetest.WithDefaultTTL(time.Minute))
	cart := func(user string) string {
		key := cache.Key{Module: "orders", Operation: "cart", User: user}
		value, _ := cache.Fetch(ctx, c, key, func(context.Context) (string, error) {
			fmt.Println("loading the cart of", user)
			return user + "'s cart", nil
		})
		return value
	}
	cart("ada")
	cart("bob")
	// Ada changed something: her entries go, in all modules. Bob's stay.
	if err := c.InvalidateUser(ctx, "ada"); err != nil {
		fmt.Println("what is cached may be out of date:", err)
	}
	cart("ada")
	cart("bob")
	// Output:
	// loading the cart of ada
	// loading the cart of bob
	// loading the cart of ada
}

// Two versions of an application, during a rollout.
func ExampleWithSchema() {
	type User struct{ First, Last string } // the version before has struct{ Name string }
	client, err := registry.ClientFromEnv(os.LookupEnv)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	getByID := cache.Operation{Module: "users", Name: "getById"}
	shop, err := cache.New(client, "shop", cache.WithSchema("first-last", getByID))
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close(context.Background())

	key := cache.Key{Module: getByID.Module, Operation: getByID.Name, Params: 7}
	user, err := cache.Fetch(context.Background(), shop, key, func(context.Context) (User, error) {
		return User{First: "Ada", Last: "Lovelace"}, nil
	})
	fmt.Println(user.First, err)
}

func ExampleID() {
	first, _ := cache.ID(map[string]any{"page": 2, "filter": "active"})
	second, _ := cache.ID(struct {
		Filter string `json:"filter"`
		Page   int    `json:"page"`
	}{"active", 2})
	fmt.Println(first == second)
	// Output: true
}
