// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesAreAllowedByRangeHostOrDefault(t *testing.T) {
	for _, test := range []struct {
		allowed, host, ip string
		ok                bool
	}{
		{"", "10.1.2.3", "10.1.2.3", true},
		{"", "redis.shop.svc", "203.0.113.7", true},
		{"", "localhost", "127.0.0.1", true},
		{"", "::1", "::1", true},
		{"", "redis", "fd12:3456::1", true},
		{"", "169.254.169.254", "169.254.169.254", false},
		{"", "redis.evil.example", "169.254.169.254", false},
		{"", "x", "::ffff:169.254.169.254", false},
		{"", "x", "64:ff9b::a9fe:a9fe", false},
		{"", "x", "64:ff9b::a00:1", true},
		{"", "x", "fe80::1%eth0", false},
		{"", "x", "fd00:ec2::254", false},
		{"", "x", "fd20:ce::254", false},
		{"", "x", "100.100.100.200", false},
		{"", "x", "168.63.129.16", false},
		{"", "x", "0.0.0.0", false},
		{"", "x", "::", false},
		{"", "x", "224.0.0.1", false},
		{"", "x", "ff02::1", false},
		{"10.0.0.0/8", "x", "10.1.2.3", true},
		{"10.0.0.0/8", "x", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "x", "11.0.0.1", false},
		{"10.0.0.0/8", "localhost", "127.0.0.1", false},
		{"10.1.2.3", "x", "10.1.2.3", true},
		{"10.1.2.3", "x", "10.1.2.4", false},
		{"169.254.10.0/24", "x", "169.254.10.1", true},
		{"169.254.10.0/24", "x", "169.254.169.254", false},
		{"*.redis.example.com", "a.redis.example.com", "203.0.113.7", true},
		{"*.redis.example.com", "A.Redis.Example.com.", "203.0.113.7", true},
		{"*.redis.example.com", "redis.example.com", "203.0.113.7", false},
		{"*.redis.example.com", "a.redis.example.com.evil.net", "203.0.113.7", false},
		{"*.redis.example.com", "a.redis.example.com", "169.254.169.254", false},
		{"redis*", "203.0.113.7", "203.0.113.7", false},
		{"10.0.0.0/8,*.svc", "redis.shop.svc", "203.0.113.7", true},
	} {
		var allowed []string
		if test.allowed != "" {
			allowed = strings.Split(test.allowed, ",")
		}
		check, err := NewDialCheck(allowed)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(test.host, netip.MustParseAddr(test.ip)); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrAddressNotAllowed) {
			t.Errorf("%q allows %s at %s: %v", test.allowed, test.host, test.ip, err)
		}
	}
}

func TestListsOfAddressesThatAreNoneAreRefused(t *testing.T) {
	for _, entry := range []string{"", "10.0.0.0/33", "a b", "[a]", "*", "1.2.3", "http://redis", "redis:6379"} {
		if _, err := NewDialCheck([]string{entry}); err == nil || !strings.Contains(err.Error(), "10.0.0.0/8") {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

// Each connection is checked where it leads, also one to what a Sentinel or a node of a cluster
// names.
func TestAddressesAreCheckedAtEachConnection(t *testing.T) {
	forbidden := answering(t, to("ping", "+PONG\r\n"))
	_, port, _ := net.SplitHostPort(forbidden)
	linkLocal := "169.254.0.1"
	node := "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n" + bulk(linkLocal) + ":" + port + "\r\n"
	for name, connection := range map[string]Connection{
		"a server":               {Addresses: []string{"169.254.0.1:" + port}},
		"a primary of Sentinels": {MasterName: "main", Addresses: []string{answering(t, to("sentinel", "*2\r\n"+bulk(linkLocal)+bulk(port)))}},
		"a node of a cluster":    {Cluster: true, Addresses: []string{answering(t, to("cluster slots", node))}},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if connection.Check, err = NewDialCheck(nil); err != nil {
				t.Fatal(err)
			}
			_, err = operatorOf(t, connection).Check(t.Context())
			if !errors.Is(err, ErrAddressNotAllowed) || !ConcernsStore(err) {
				t.Errorf("%v", err)
			}
		})
	}
}
