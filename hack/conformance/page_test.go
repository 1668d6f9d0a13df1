// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/hack/conformance/internal/vectors"
	"github.com/cachewright/cachewright/internal/pages"
	"github.com/cachewright/cachewright/internal/redistest"
)

const page = "../../docs/clients.md"

func blocks(t *testing.T) []pages.Block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found := pages.Blocks(string(text))
	if len(found) < 10 {
		t.Fatalf("found %d blocks on the page; it has more", len(found))
	}
	return found
}

// reader follows the page: it pastes each command, one after the other.
type reader struct {
	client *redis.Client
	token  string
	output strings.Builder

	received *bufio.Reader // on the connection of what is to be sent on one
}

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

var tokenOf = regexp.MustCompile(`^TOKEN=\$\((redis-cli .*) \| tail -n 1\)$`)

// paste runs one line, as a shell would. Its output is that of redis-cli in a terminal.
func (r *reader) paste(t *testing.T, line string) {
	t.Helper()
	if match := tokenOf.FindStringSubmatch(line); match != nil {
		list, _ := r.reply(t, match[1]).([]any)
		r.token, _ = list[len(list)-1].(string)
		return
	}
	if strings.HasPrefix(line, "redis-cli ") {
		r.output.WriteString(asShown(r.reply(t, line), ""))
		return
	}
	shown, err := exec.CommandContext(t.Context(), "bash", "-c", "set -o pipefail; "+line).Output()
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	r.output.Write(shown)
}

// refusal is the line of an error. A line of a value may begin with '-', too: epochs are random characters.
var refusal = regexp.MustCompile("^-[A-Z]+ ")

// sendOnOneConnection sends lines, the last of them a PING, and waits for its answer.
func (r *reader) sendOnOneConnection(t *testing.T, lines string) {
	t.Helper()
	conn, err := net.Dial("tcp", r.client.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r.received = bufio.NewReader(conn)
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(strings.ReplaceAll(lines, "\n", "\r\n"))); err != nil {
		t.Fatal(err)
	}
	for line := ""; line != "+PONG\r\n"; {
		if line, err = r.received.ReadString('\n'); err != nil || refusal.MatchString(line) {
			t.Fatalf("%q (%v)", line, err)
		}
	}
}

// receives wants lines on that connection.
func (r *reader) receives(t *testing.T, lines string) {
	t.Helper()
	for want := range strings.Lines(lines) {
		want = strings.TrimSuffix(want, "\n") + "\r\n"
		if got, err := r.received.ReadString('\n'); got != want {
			t.Fatalf("received %q (%v), and the page shows %q", got, err, want)
		}
	}
}

func (r *reader) reply(t *testing.T, command string) any {
	t.Helper()
	command = strings.TrimPrefix(command, "redis-cli ")
	var args []any
	rest, fromFile := strings.CutPrefix(command, "-x ")
	rest, path, _ := strings.Cut(rest, " < ")
	for _, word := range shellWord.FindAllString(rest, -1) {
		args = append(args, strings.ReplaceAll(strings.Trim(word, `'"`), "$TOKEN", r.token))
	}
	if fromFile {
		content, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, string(content))
	}
	reply, err := r.client.Do(t.Context(), args...).Result()
	if err != nil {
		t.Errorf("redis-cli %s: %v", command, err)
	}
	return reply
}

// asShown is a reply as redis-cli shows it in a terminal.
func asShown(reply any, indent string) string {
	switch reply := reply.(type) {
	case nil:
		return "(nil)\n"
	case int64:
		return fmt.Sprintf("(integer) %d\n", reply)
	case []any:
		var lines strings.Builder
		for i, element := range reply {
			if i > 0 {
				lines.WriteString(indent)
			}
			fmt.Fprintf(&lines, "%d) %s", i+1, asShown(element, indent+"   "))
		}
		return lines.String()
	default:
		return fmt.Sprintf("%q\n", reply)
	}
}

// A reader who pastes the commands of the page, from top to bottom, sees what it shows.
func TestThePageShowsWhatItsCommandsPrint(t *testing.T) {
	r := &reader{client: redistest.Start(t).Client()}
	pasted, compared := 0, 0
	for _, b := range blocks(t) {
		switch b.Language {
		case "sh":
			if strings.HasPrefix(b.Text, "make ") {
				continue // see below
			}
			r.output.Reset()
			for line := range strings.Lines(b.Text) {
				r.paste(t, strings.TrimSpace(line))
				pasted++
			}
		case "redis":
			r.sendOnOneConnection(t, b.Text)
		case "text":
			if strings.HasPrefix(b.Text, ">") {
				r.receives(t, b.Text)
				continue
			}
			if r.output.Len() == 0 {
				continue // bytes: see below
			}
			if wanted := b.Text; !looksLike(r.output.String(), wanted) {
				t.Errorf("the page shows\n%s\nand its commands print\n%s", wanted, r.output.String())
			}
			r.output.Reset()
			compared++
		}
	}
	if pasted < 19 || compared < 5 {
		t.Errorf("pasted %d commands, and compared the output of %d blocks; the page has more", pasted, compared)
	}
}

// looksLike says whether an output is what the page shows. … stands for what differs each time.
func looksLike(output, shown string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(shown), "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(output)
}

// The targets of make run the runner, with flags that it has.
func TestMakeRunsTheRunner(t *testing.T) {
	made := 0
	for _, b := range blocks(t) {
		for line := range strings.Lines(b.Text) {
			command, isMake := strings.CutPrefix(strings.TrimSpace(line), "make conformance ")
			if !isMake {
				continue
			}
			made++
			shown, err := exec.Command("bash", "-c", "make -C ../.. --no-print-directory --dry-run conformance "+command).Output()
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			_, args, found := strings.Cut(string(shown), "go run ./hack/conformance ")
			if o, err := parse(strings.Fields(args), io.Discard); err != nil || !found || !slices.Equal(o.command, []string{"node", "driver.mjs"}) {
				t.Errorf("%s runs %s; the runner takes %q for the driver (%v)", line, shown, o.command, err)
			}
		}
	}
	if made != 2 {
		t.Errorf("the page has %d lines that begin with make conformance", made)
	}
}

var hexOnPage = regexp.MustCompile(`(?m)^((?:[0-9a-f]{2})+)(?: {2}.*)?$`)

// The bytes of the page are those of its text, or of a vector.
func TestTheBytesOfThePageAreReal(t *testing.T) {
	file, err := vectors.Read("../../docs/protocol-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, entry := range file.Entries {
		if entry.Value != nil {
			known[hex.EncodeToString([]byte(*entry.Value))] = true
		}
		for _, head := range entry.Heads {
			if head != nil {
				known[hex.EncodeToString([]byte(*head))] = true
			}
		}
	}
	checked := 0
	for _, b := range blocks(t) {
		lines := strings.Split(strings.TrimSpace(b.Text), "\n")
		var parts []string
		for _, match := range hexOnPage.FindAllStringSubmatch(b.Text, -1) {
			parts = append(parts, match[1])
		}
		if b.Language != "text" || len(parts) == 0 {
			continue
		}
		checked++
		switch {
		case len(lines) == 2 && len(parts) == 1: // text, and its bytes
			if parts[0] != hex.EncodeToString([]byte(lines[0])) {
				t.Errorf("%s is not %s in hex", parts[0], lines[0])
			}
		case len(parts) == 2: // heads
			if !known[parts[0]] || !known[parts[1]] {
				t.Errorf("no vector has the heads %q", parts)
			}
		default: // an entry, by fields
			if entry := strings.Join(parts, ""); !known[entry] {
				t.Errorf("no vector has the entry %s", entry)
			}
		}
	}
	if checked != 3 {
		t.Errorf("checked %d blocks of bytes; the page has a key, an entry and heads", checked)
	}
}

// The driver of the page works, around a client that is as simple.
func TestTheDriverOfThePageWorks(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not on the PATH")
	}
	dir := t.TempDir()
	for _, b := range blocks(t) {
		if b.Language == "python" {
			write(t, filepath.Join(dir, "driver.py"), b.Text)
		}
	}
	client, err := os.ReadFile("testdata/myclient.py")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "myclient.py"), string(client))
	result := tryCommand(t, []string{"python3", filepath.Join(dir, "driver.py")})
	result.wantPass(t)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
