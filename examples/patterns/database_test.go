// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package patterns

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// database is a Source in memory. It counts how often it is asked.
type database struct {
	mu      sync.Mutex
	posts   map[string]Post
	queries int
}

func newDatabase() *database {
	posts := map[string]Post{}
	for i := range 10 {
		id := fmt.Sprint(i)
		posts[id] = Post{ID: id, Author: "ada", Title: "Post " + id}
	}
	return &database{posts: posts}
}

// query runs a function as one question to the database.
func (d *database) query(run func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queries++
	run()
}

// asked returns how many questions there were since it was last called.
func (d *database) asked() (queries int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	queries, d.queries = d.queries, 0
	return queries
}

func (d *database) Post(_ context.Context, id string) (post Post, err error) {
	d.query(func() {
		var found bool
		if post, found = d.posts[id]; !found {
			err = fmt.Errorf("post %s: %w", id, cache.ErrNotFound)
		}
	})
	return post, err
}

func (d *database) Posts(_ context.Context, ids []string) (map[string]Post, error) {
	found := map[string]Post{}
	d.query(func() {
		for _, id := range ids {
			if post, exists := d.posts[id]; exists {
				found[id] = post
			}
		}
	})
	return found, nil
}

func (d *database) ByAuthor(_ context.Context, author string, _ int) (posts []Post, err error) {
	d.query(func() {
		for post := range maps.Values(d.posts) {
			if post.Author == author {
				posts = append(posts, post)
			}
		}
	})
	return posts, nil
}

func (d *database) Drafts(_ context.Context, user string) (drafts []Post, err error) {
	d.query(func() { drafts = []Post{{Author: user, Title: "Draft"}} })
	return drafts, nil
}

func (d *database) Rate(context.Context, string) (rate float64, validFor time.Duration, err error) {
	d.query(func() {})
	return 1.1, 50 * time.Millisecond, nil
}

func (d *database) Save(_ context.Context, post Post) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.posts[post.ID] = post
	return nil
}

func (d *database) Import(ctx context.Context, posts []Post) error {
	for _, post := range posts {
		_ = d.Save(ctx, post) // cannot fail
	}
	return nil
}
