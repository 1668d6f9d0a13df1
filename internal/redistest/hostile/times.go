// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import "net"

// waysOfTime answer late, in small pieces, or not at all.
func waysOfTime() []Way {
	return []Way{
		{Name: "slow", answer: func(e *exchange) error {
			reply, err := e.real()
			if err != nil {
				return err
			}
			if err := e.pause(slow); err != nil {
				return err
			}
			return e.write(reply)
		}},
		{Name: "a byte at a time", answer: func(e *exchange) error {
			reply, err := e.real()
			if err != nil {
				return err
			}
			return e.drip(reply)
		}},
		{Name: "a byte at a time, without end", answer: func(e *exchange) error {
			if err := e.write([]byte("$1000000\r\n")); err != nil {
				return err
			}
			for {
				if err := e.drip([]byte("x")); err != nil {
					return err
				}
			}
		}},
		{Name: "silence", answer: func(*exchange) error { return errSilent }},
		{Name: "closed", answer: func(*exchange) error { return errGone }},
		{Name: "reset", answer: func(e *exchange) error {
			if tcp, isTCP := e.client.(*net.TCPConn); isTCP {
				_ = tcp.SetLinger(0)
			}
			return errGone
		}},
		{Name: "closed half-way", answer: func(e *exchange) error {
			reply, err := e.real()
			if err != nil {
				return err
			}
			_ = e.write(reply[:len(reply)/2])
			return errGone
		}},
	}
}

func (e *exchange) drip(reply []byte) error {
	for i := range reply {
		if err := e.write(reply[i : i+1]); err != nil {
			return err
		}
		if err := e.pause(dripInterval); err != nil {
			return err
		}
	}
	return nil
}

// push is a message that Redis sends without a request.
const push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n"

// waysOfOrder send more than the answer.
func waysOfOrder() []Way {
	return []Way{
		before("1,000 pushes first", push, 1000),
		before("odd pushes first",
			">1\r\n$7\r\nmessage\r\n>0\r\n>3\r\n:1\r\n:2\r\n:3\r\n>2\r\n$13\r\nMOVING\r\nxxxxx\r\n:1\r\n",
			1),
		before("pushes of maintenance first",
			">3\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n>2\r\n$9\r\nMIGRATING\r\n:-1\r\n>1\r\n$11\r\nFAILED_OVER\r\n",
			10),
		before("attribute first", "|1\r\n+ttl\r\n:3600\r\n", 1),
		streamed("endless pushes", "", push, endless),
		{Name: "three answers", answer: func(e *exchange) error { return e.repeat(3) }},
		{Name: "10,000 answers", answer: func(e *exchange) error { return e.repeat(10_000) }},
		streamed("endless answers", "", "+OK\r\n", endless),
	}
}

// before sends something else before the real answer.
func before(name, piece string, times int) Way {
	return Way{Name: name, answer: func(e *exchange) error {
		if err := e.stream("", piece, times); err != nil {
			return err
		}
		return e.repeat(1)
	}}
}

func (e *exchange) repeat(times int) error {
	reply, err := e.real()
	if err != nil {
		return err
	}
	return e.stream("", string(reply), times)
}
