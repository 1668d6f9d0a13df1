// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/repository"
)

// errandVariable makes the binary of the tests a writer of items, with an errand as JSON.
const errandVariable = "CACHEWRIGHT_ERRAND"

// errand is what a writer process does: some transactions, and in the last one it ends.
type errand struct {
	Backend, DSN, Redis string
	Protocol            protocol
	Writes              int
	End                 end
}

// end is what becomes of a writer.
type end string

const (
	killedBefore end = "killed before COMMIT"
	killedIn     end = "killed in COMMIT"
	killedAfter  end = "killed after COMMIT"
	frozenBefore end = "frozen before COMMIT"
	frozenAfter  end = "frozen after COMMIT"
)

func (e end) freezes() bool { return e == frozenBefore || e == frozenAfter }

// stop sends this process a signal that it cannot catch.
func stop(signal syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), signal)
	time.Sleep(20 * time.Millisecond) // the signal may take a moment
}

// saying is what a writer tells: that it is frozen now, and what it committed with a hold that was
// lost.
type saying struct {
	Frozen bool
	Lost   []change
}

func tell(s saying) error { return json.NewEncoder(os.Stdout).Encode(s) }

// runErrand is the main function of a writer of items.
func runErrand(settings string) {
	var e errand
	if err := json.Unmarshal([]byte(settings), &e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := e.run(); err != nil {
		fmt.Fprintln(os.Stderr, e.End, err)
		os.Exit(2)
	}
}

func (e errand) run() error {
	client, closeAll, err := openChaosCache(e.Redis)
	if err != nil {
		return err
	}
	defer closeAll()
	d := &doomed{errand: e}
	h := &holder{Client: client, protocol: e.Protocol, before: d.before, after: d.after}
	i, err := openItems(backendOf(e.Backend), e.DSN, h, repository.OnCacheAway(repository.Refuse),
		repository.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer i.close()
	// The last transaction may be refused, or undone, before it comes to its end.
	for ; !d.ended && d.done < e.Writes+1000; d.done++ {
		changed, err := i.write(context.Background())
		if err != nil && !isHarmless(err) {
			return err
		}
		if !d.ended && i.db.Stats().HoldsLost > d.lost {
			d.lost = i.db.Stats().HoldsLost
			if err := tell(saying{Lost: changed}); err != nil {
				return err
			}
		}
	}
	if !d.ended {
		return errors.New("it never came to its end")
	}
	return nil
}

// doomed ends its process around the COMMIT of the last transaction of an errand.
type doomed struct {
	errand

	done  int
	lost  int64     // holds
	began time.Time // of COMMIT
	ended bool      // and goes on, after it was frozen
}

func (d *doomed) before() {
	time.Sleep(rand.N(3 * time.Millisecond))
	d.began = time.Now()
	if d.done < d.Writes {
		return
	}
	switch d.End {
	case killedBefore:
		stop(syscall.SIGKILL)
	case killedIn:
		time.AfterFunc(rand.N(3*time.Millisecond), func() { stop(syscall.SIGKILL) })
	case frozenBefore:
		d.freeze()
	}
}

func (d *doomed) freeze() {
	d.ended = true
	_ = tell(saying{Frozen: true})
	stop(syscall.SIGSTOP)
}

func (d *doomed) after() {
	time.Sleep(rand.N(3 * time.Millisecond))
	if d.done < d.Writes || time.Since(d.began) > holdOfWriter/2 {
		return // a COMMIT that took so long may have lost its hold
	}
	switch d.End {
	case killedAfter:
		stop(syscall.SIGKILL)
	case frozenAfter:
		if !d.ended {
			d.freeze()
		}
	}
}

func backendOf(name string) backend {
	for _, b := range backends {
		if b.name == name {
			return b
		}
	}
	panic("no backend " + name)
}

// isHarmless says whether a transaction failed as it may.
func isHarmless(err error) bool {
	return errors.Is(err, errOurs) || errors.Is(err, repository.ErrConflict) || errors.Is(err, repository.ErrUnprotected) ||
		errors.Is(err, repository.ErrOutcomeUnknown)
}

// send runs an errand to its end. It returns whether the process ended so, and what it committed
// with a hold that was lost.
func (e errand) send(ctx context.Context) (ended bool, excused []change, err error) {
	settings, err := json.Marshal(e)
	if err != nil {
		return false, nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), errandVariable+"="+string(settings))
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, detached.Attributes()
	said, err := cmd.StdoutPipe()
	if err != nil {
		return false, nil, err
	}
	if err := cmd.Start(); err != nil {
		return false, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	frozen, excused := e.listen(cmd.Process, said)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return false, nil, nil
	}
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if e.End.freezes() && (err != nil || !frozen) || !e.End.freezes() && !killed {
		return false, nil, fmt.Errorf("%s: the process ended in another way: %w", e.End, err)
	}
	return true, excused, nil
}

// listen hears what a writer says until its end. It lets one go on that was frozen for longer than
// its hold lasts.
func (e errand) listen(process *os.Process, said io.Reader) (frozen bool, lost []change) {
	decoder := json.NewDecoder(said)
	for {
		var s saying
		if decoder.Decode(&s) != nil {
			return frozen, lost
		}
		lost = append(lost, s.Lost...)
		if s.Frozen {
			frozen = true
			time.Sleep(holdOfWriter + 300*time.Millisecond)
			_ = process.Signal(syscall.SIGCONT)
		}
	}
}
