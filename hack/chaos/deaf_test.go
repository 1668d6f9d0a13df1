// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"net"
)

// dialDeaf connects to Redis. A client that tracks changes receives those of another module
// instead.
func dialDeaf(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &deaf{Conn: conn}, err
}

type deaf struct {
	net.Conn

	tracks bool
}

func (d *deaf) Write(command []byte) (int, error) {
	d.tracks = d.tracks || bytes.Contains(command, []byte("TRACKING"))
	if d.tracks {
		// Replace the module in all its calls. The other name has the same length, so the lengths
		// in the protocol stay correct.
		command = bytes.ReplaceAll(command, []byte("{"+slot.String()+"}"), []byte("{"+namespace+"/other}"))
	}
	return d.Conn.Write(command)
}
