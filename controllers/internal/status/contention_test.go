// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestAForeignOwnerIsNotQuoted(t *testing.T) {
	g := NewWithT(t)
	for _, foreign := range []string{"", "token=secret", "a/b", "HTTP/1.1/400", "a/b/c\x1b[31m"} {
		g.Expect(contentionMessage(Location{}, foreign)).NotTo(ContainSubstring("token="))
		g.Expect(DescribeOwner(foreign)).To(Equal("an owner that this operator does not know"))
	}
}
