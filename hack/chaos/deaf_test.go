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
	return deaf{conn}, err
}

type deaf struct{ net.Conn }

func (d deaf) Write(command []byte) (int, error) {
	if bytes.Contains(command, []byte("TRACKING")) {
		// As long as the right name, so that all lengths stay true.
		command = bytes.ReplaceAll(command, []byte("{"+slot.String()+"}"), []byte("{"+namespace+"/other}"))
	}
	return d.Conn.Write(command)
}
