// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"net"
)

// dialDeaf connects to Redis so that who asks to be told of changes is told of those of another module.
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
		// What it reads is what it is told of. As long as the right name, so that all lengths stay true.
		command = bytes.ReplaceAll(command, []byte("{"+slot.String()+"}"), []byte("{"+namespace+"/other}"))
	}
	return d.Conn.Write(command)
}
