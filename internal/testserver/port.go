// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package testserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Loopback is the address at which all servers of tests listen.
const Loopback = "127.0.0.1"

// PortAttempts is how many ports a server is started on, until another program is not faster.
const PortAttempts = 20

// Ports below those that systems use for outgoing connections. Above that limit, a client that
// retries the port of a killed server could get it as its own. It would then connect to itself and
// block the port.
const (
	lowestPort  = 12000
	highestPort = 32000
)

// ErrPortTaken says that another program took a port before the server did.
var ErrPortTaken = errors.New("port is taken")

// FreePort chooses a port at which nobody listens.
func FreePort() (int, error) {
	for range PortAttempts {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		listener, err := net.Listen("tcp", net.JoinHostPort(Loopback, strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port on %s after %d attempts between %d and %d", Loopback,
		PortAttempts, lowestPort, highestPort)
}
