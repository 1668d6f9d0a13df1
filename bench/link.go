// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !nolink

package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest/distant"
)

const (
	// linkDelay is how late each answer arrives.
	linkDelay = time.Millisecond
	// linkGoroutines are few, so that the link is what they wait for, and not the cores.
	linkGoroutines = 8
)

// linkMisses do the same over a link.
var linkMisses = []writer{
	{plainMissRow + "-link", missPlain((*lab).farClient)},
	{"fetch-miss-link", missFetch((*lab).farClient)},
}

func (b *bench) fetchMissOverLink(ctx context.Context, l *lab) error {
	subjects, err := writing(ctx, l, b.scale, linkMisses, id)
	if err != nil {
		return err
	}
	all, err := compare(ctx, l, subjects, linkGoroutines, b.rounds, b.lap)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		r := throughputRow(s.name, linkGoroutines, all[s.name])
		toPlainMiss(plainMissRow+"-link")(&r, all[s.name], all)
		b.add(r)
	}
	return nil
}

// farClient returns a client of a new server at the end of a link.
func (l *lab) farClient(ctx context.Context) (*redis.Client, error) {
	server, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	link, err := distant.Start(server.Addr())
	if err != nil {
		return nil, err
	}
	l.onClose(link.Close)
	link.Delay(linkDelay)
	return l.clientAt(link.Addr()), nil
}
