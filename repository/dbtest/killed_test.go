// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/repository"
)

// writerVariable makes the binary of the tests a writer: the name of a backend, the DSN, the address
// of Redis, and where it stops.
const writerVariable = "CACHEWRIGHT_WRITER"

const holdOfWriter = 2 * time.Second

// write makes one payment of 50 in a process of its own. Where it is told to, it says so, and waits
// for a line.
func write(b backend, dsn, addr, at string) error {
	pool, err := sql.Open(b.driver, dsn)
	if err != nil {
		return err
	}
	c, closeAll, err := openCache(addr)
	if err != nil {
		return err
	}
	defer closeAll()
	stop := func() {
		fmt.Println("stopped")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	}
	holder := &stepHolder{Client: c}
	switch at {
	case "before COMMIT":
		holder.held = stop
	case "after COMMIT":
		holder.release = stop
	}
	db, err := repository.Open(pool, b.dialect, repository.WithCache(holder),
		repository.WithHold(holdOfWriter), repository.OnCacheAway(repository.Refuse))
	if err != nil {
		return err
	}
	return pay(context.Background(), db, b, 1, 50)
}

// startWriter runs a writer until it stops.
func startWriter(t *testing.T, b backend, dsn, addr, at string) (writer *exec.Cmd, goOn func() (result string)) {
	t.Helper()
	writer = exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), writerVariable+"="+strings.Join([]string{b.name, dsn, addr, at}, "|"))
	writer.Stderr = os.Stderr
	writer.SysProcAttr = detached.Attributes()
	stdin, err := writer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = writer.Process.Kill()
		_ = writer.Wait()
	})
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "stopped\n" {
		t.Fatalf("the writer said %q (%v)", line, err)
	}
	return writer, func() string {
		_, _ = stdin.Write([]byte("\n"))
		line, _ := lines.ReadString('\n')
		return strings.TrimSpace(line)
	}
}

// A writer is killed around its COMMIT. Readers of another process see what the database has, and
// it is cached again once the hold has ended.
func TestAWriterThatIsKilledLeavesNothingStale(t *testing.T) {
	t.Parallel()
	redis := map[string]string{}
	for _, b := range backends {
		redis[b.name] = startRedis(t).Addr()
	}
	onEach(t, func(t *testing.T, b backend) {
		dsn := b.dsn(t)
		pool := b.openAt(t, dsn)
		db := open(t, pool, b.dialect, repository.WithCache(newCache(t, redis[b.name])))
		for _, row := range []struct {
			at   string
			want int
		}{{"before COMMIT", 100}, {"after COMMIT", 50}} {
			cachedBalance(t, b, db, 1)
			if _, hit := cachedBalance(t, b, db, 1); !hit {
				t.Fatal("it is not cached before")
			}
			writer, _ := startWriter(t, b, dsn, redis[b.name], row.at)
			if err := writer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = writer.Wait()
			killed := time.Now()
			for {
				got, hit := cachedBalance(t, b, db, 1)
				if got != row.want {
					t.Fatalf("killed %s: read %d, want %d", row.at, got, row.want)
				}
				if hit {
					break
				}
				if time.Since(killed) > 5*holdOfWriter {
					t.Fatalf("killed %s: it is not cached again", row.at)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(killed); took > holdOfWriter+time.Second {
				t.Errorf("killed %s: it is cached again after %s", row.at, took)
			}
		}
	})
}

// A writer is frozen after its hold, until that has ended. It must not commit without one.
func TestAWriterThatWasFrozenDoesNotCommitWithoutAHold(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	onEach(t, func(t *testing.T, b backend) {
		dsn := b.dsn(t)
		pool := b.openAt(t, dsn)
		writer, goOn := startWriter(t, b, dsn, redis.Addr(), "before COMMIT")
		if err := writer.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(holdOfWriter + 200*time.Millisecond)
		if err := writer.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if got := goOn(); got != "unprotected" || balance(t, b, pool, 1) != 100 {
			t.Errorf("it said %q, and committed %d", got, balance(t, b, pool, 1))
		}
	})
}

// runWriter is the main function of a writer.
func runWriter(settings string) {
	parts := strings.Split(settings, "|")
	for _, b := range backends {
		if b.name != parts[0] {
			continue
		}
		switch err := write(b, parts[1], parts[2], parts[3]); {
		case err == nil:
			fmt.Println("committed")
		case errors.Is(err, repository.ErrUnprotected):
			fmt.Println("unprotected")
		default:
			fmt.Println(err)
		}
	}
}
