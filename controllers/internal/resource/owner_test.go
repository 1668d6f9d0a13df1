// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestAnOwnerIsReadOnlyInTheFormThatOperatorsWrite(t *testing.T) {
	g := NewWithT(t)
	policy := &v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "users"}}
	written := ownerOf("ours", policy)
	read, known := ParseOwner(written.String())
	g.Expect(known).To(BeTrue())
	g.Expect(read).To(Equal(written))
	g.Expect(ownerOf("", policy).String()).To(BeEmpty())

	for _, foreign := range []string{
		"", "token=secret", "a/b", "a/b/c/d", "/b/c", "a//c", "a/b/", "HTTP/1.1/400", "a\n/b/c", "a/b/c\x1b[31m", "-a/b/c",
	} {
		_, known := ParseOwner(foreign)
		g.Expect(known).To(BeFalse(), "%q", foreign)
	}
}
