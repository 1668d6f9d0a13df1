// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// refusedByDefault are addresses at which no Redis is, but what trusts whoever can reach it: services of the machine
// and of the cloud that hand out credentials.
var refusedByDefault = prefixes(
	"169.254.0.0/16", "fe80::/10", // link-local, with the metadata services of most clouds
	"fd00:ec2::/32", "fd20:ce::/32", // metadata by IPv6, of AWS and Google Cloud
	"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", // the same of Alibaba Cloud, Azure and Oracle Cloud
	"0.0.0.0/8", "::/128", // no address
	"224.0.0.0/4", "ff00::/8", "255.255.255.255/32", // multicast and broadcast
)

// nat64 are the prefixes by which IPv4 is reached from IPv6: the last four bytes are the address there.
var nat64 = prefixes("64:ff9b::/96", "64:ff9b:1::/96")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// NewDialCheck returns a check that allows the addresses in a list and no others: IP addresses, ranges such as 10.0.0.0/8,
// and patterns of host names such as *.redis.example.com, where * stands for any text. With an empty list all are
// allowed. Either way it refuses link-local and metadata addresses, and those that are none, unless a range or an
// address in the list holds them: what a host name leads to is whatever its owner says.
func NewDialCheck(allowed []string) (DialCheck, error) {
	var list allowedAddresses
	for _, entry := range allowed {
		if err := list.add(entry); err != nil {
			return nil, err
		}
	}
	return list.check, nil
}

type allowedAddresses struct {
	ranges []netip.Prefix
	hosts  []string
}

func (a *allowedAddresses) add(entry string) error {
	if ip, err := netip.ParseAddr(entry); err == nil {
		a.ranges = append(a.ranges, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
		return nil
	}
	if span, err := netip.ParsePrefix(entry); err == nil {
		a.ranges = append(a.ranges, span.Masked())
		return nil
	}
	if !isHostPattern(entry) {
		return fmt.Errorf("%q is no IP address, no range such as 10.0.0.0/8 and no host such as *.redis.example.com", entry)
	}
	a.hosts = append(a.hosts, hostName(entry))
	return nil
}

func isHostPattern(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._*", c)
	}) && strings.ContainsFunc(text, func(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' })
}

// hostName is how host names are compared.
func hostName(text string) string { return strings.TrimSuffix(strings.ToLower(text), ".") }

func (a *allowedAddresses) check(host string, ip netip.Addr) error {
	ip = ip.WithZone("").Unmap()
	switch {
	case isIn(ip, a.ranges):
		return nil
	case isIn(ip, refusedByDefault) || isIn(behindNAT64(ip), refusedByDefault):
		return fmt.Errorf("%w: %s is link-local, serves metadata, or is no address of a server; whoever runs the operator can allow it by "+
			"--allowed-store-addresses", ErrAddressNotAllowed, ip)
	case len(a.ranges) == 0 && len(a.hosts) == 0, a.isNamed(host):
		return nil
	default:
		return fmt.Errorf("%w: %s is not among --allowed-store-addresses; whoever runs the operator can add it", ErrAddressNotAllowed, ip)
	}
}

// isNamed says whether a host was asked for by a name that is allowed.
func (a *allowedAddresses) isNamed(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return slices.ContainsFunc(a.hosts, func(pattern string) bool {
		matches, _ := path.Match(pattern, hostName(host)) // a pattern of a flag has no brackets that could be wrong
		return matches
	})
}

func isIn(ip netip.Addr, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(span netip.Prefix) bool { return span.Contains(ip) })
}

// behindNAT64 returns the IPv4 address that an IPv6 address leads to, or the address itself.
func behindNAT64(ip netip.Addr) netip.Addr {
	if !isIn(ip, nat64) {
		return ip
	}
	bytes := ip.As16()
	return netip.AddrFrom4([4]byte(bytes[12:]))
}
