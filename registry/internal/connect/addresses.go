// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// refusedByDefault has addresses where no Redis is, but services that trust all their clients: for
// example cloud metadata services, which hand out credentials.
var refusedByDefault = prefixes(
	"169.254.0.0/16", "fe80::/10", // link-local, with the metadata services of most clouds
	"fd00:ec2::/32", "fd20:ce::/32", // IPv6 metadata services of AWS and Google Cloud
	// those of Alibaba Cloud, Azure and Oracle Cloud
	"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
	"0.0.0.0/8", "::/128", // unspecified
	"224.0.0.0/4", "ff00::/8", "255.255.255.255/32", // multicast and broadcast
)

// nat64 has the prefixes that reach IPv4 from IPv6. The last four bytes are the IPv4 address.
var nat64 = prefixes("64:ff9b::/96", "64:ff9b:1::/96")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// NewCheck returns a check that allows the addresses in a list only; see registry.NewDialCheck.
func NewCheck(allowed []string) (Check, error) {
	var list allowList
	for _, entry := range allowed {
		if err := list.add(entry); err != nil {
			return nil, err
		}
	}
	return list.check, nil
}

type allowList struct {
	ranges []netip.Prefix
	hosts  []string
}

func (a *allowList) add(entry string) error {
	if ip, err := netip.ParseAddr(entry); err == nil {
		a.ranges = append(a.ranges, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
		return nil
	}
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		a.ranges = append(a.ranges, prefix.Masked())
		return nil
	}
	if !isHostPattern(entry) {
		return fmt.Errorf(
			"%q is no IP address, no range such as 10.0.0.0/8 and no host such as *.redis.example.com",
			entry)
	}
	a.hosts = append(a.hosts, hostName(entry))
	return nil
}

func isHostPattern(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return !isLetter(c) && (c < '0' || c > '9') && !strings.ContainsRune("-._*", c)
	}) && strings.ContainsFunc(text, isLetter)
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// hostName normalises a host name for comparison.
func hostName(text string) string { return strings.TrimSuffix(strings.ToLower(text), ".") }

func (a *allowList) check(host string, ip netip.Addr) error {
	ip = ip.WithZone("").Unmap()
	switch {
	case isIn(ip, a.ranges):
		return nil
	case isIn(ip, refusedByDefault) || isIn(behindNAT64(ip), refusedByDefault):
		return fmt.Errorf("%w: %s is link-local, serves metadata, or is not the address of a server; "+
			"an administrator of the operator can allow it with --allowed-store-addresses",
			fault.ErrAddressNotAllowed, ip)
	case len(a.ranges) == 0 && len(a.hosts) == 0, a.isNamed(host):
		return nil
	default:
		return fmt.Errorf("%w: %s is not among --allowed-store-addresses; "+
			"an administrator of the operator can add it", fault.ErrAddressNotAllowed, ip)
	}
}

// isNamed says whether the host was requested by an allowed name.
func (a *allowList) isNamed(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return slices.ContainsFunc(a.hosts, func(pattern string) bool {
		matches, _ := path.Match(pattern, hostName(host)) // patterns have no brackets, so they are valid
		return matches
	})
}

func isIn(ip netip.Addr, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(prefix netip.Prefix) bool { return prefix.Contains(ip) })
}

// behindNAT64 returns the IPv4 address that an IPv6 address leads to, or the address itself.
func behindNAT64(ip netip.Addr) netip.Addr {
	if !isIn(ip, nat64) {
		return ip
	}
	bytes := ip.As16()
	return netip.AddrFrom4([4]byte(bytes[12:]))
}
