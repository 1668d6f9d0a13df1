// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ofPage begins the lines of the page that create the user of a namespace. Its password is secret.
const ofPage = "ACL SETUSER shop "

const password = "secret"

// newACLFile returns the path of an empty file for the users of servers.
func newACLFile(dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("creating the directory of the servers: %w", err)
	}
	path = filepath.Join(dir, "users.acl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return "", fmt.Errorf("creating the file of users: %w", err)
	}
	return path, nil
}

// admitTenant creates the user of the namespace, with the rights that a page gives to that of shop.
func (s *Stage) admitTenant(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("reading the rights of a tenant: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, ofPage) {
			lines = append(lines, strings.ReplaceAll(strings.TrimSpace(line), "shop", Namespace))
		}
	}
	if len(lines) == 0 {
		return fmt.Errorf("%s has no line that begins with %q", page, ofPage)
	}
	for _, server := range s.servers {
		server.ApplyACL(lines)
		server.SaveACL()
	}
	s.Username, s.Password = Namespace, password
	return nil
}

// WithoutInfo takes the right to call INFO from the tenant, calls do, and grants it again.
func (s *Stage) WithoutInfo(do func()) {
	s.changeTenant("-info")
	defer s.changeTenant("+info")
	do()
}

func (s *Stage) changeTenant(rule string) {
	for _, server := range s.servers {
		server.ApplyACL([]string{"ACL SETUSER " + s.Username + " " + rule})
	}
}
