// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
)

// holderEnv makes this program a holder of a Redis with these addresses.
const holderEnv = "CHAOS_HOLDER"

// order is what a process is to do, as a line of JSON. It answers each with an error, or with an
// empty text.
type order struct {
	Do                      string
	TTL                     time.Duration
	Operation, User, Params string
}

const (
	orderHold    = "hold"
	orderRenew   = "renew"
	orderRelease = "release"
)

// serveHolder carries out orders until there are no more.
func serveHolder(addresses string, orders io.Reader, answers io.Writer) error {
	client, err := cache.New(redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: strings.Split(addresses, ","), ContextTimeoutEnabled: true, ReadTimeout: redisTimeout,
	}), namespace, cache.WithLogger(slog.New(slog.DiscardHandler)), cache.WithTimeout(redisTimeout))
	if err != nil {
		return err
	}
	decoder, encoder := json.NewDecoder(orders), json.NewEncoder(answers)
	var held cache.Hold
	for {
		var o order
		if err := decoder.Decode(&o); err != nil {
			return err
		}
		var answer string
		if held, err = carryOut(client, held, o); err != nil {
			answer = err.Error()
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
}

func carryOut(client *cache.Client, held cache.Hold, o order) (cache.Hold, error) {
	ctx := context.Background()
	switch o.Do {
	case orderHold:
		return client.Hold(ctx, o.TTL, coveredBy(scope{o.Operation, o.User, o.Params}))
	case orderRenew:
		return held, held.Renew(ctx, o.TTL)
	default:
		return held, held.Release(ctx)
	}
}

// processHolder holds from a process of its own, which is killed with SIGKILL and frozen with
// SIGSTOP.
type processHolder struct {
	t     *testing.T
	store store

	mu      sync.Mutex
	process *process
}

func (*processHolder) number() int { return nobody }

func (p *processHolder) hold(_ context.Context, s scope, ttl time.Duration) (holding, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		process, err := startProcess(p.store)
		if err != nil {
			return nil, err
		}
		p.t.Cleanup(process.kill)
		p.process = process
	}
	h := processHolding{p, p.process}
	if err := h.process.ask(order{orderHold, ttl, s.operation, s.user, s.id}); err != nil {
		_ = h.release(context.Background())
		return nil, err
	}
	return h, nil
}

// process is a holder that runs.
type process struct {
	cmd     *exec.Cmd
	orders  *json.Encoder
	answers *json.Decoder
	once    sync.Once
}

func startProcess(store store) (*process, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderEnv+"="+strings.Join(store, ","))
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd: cmd, orders: json.NewEncoder(orders), answers: json.NewDecoder(answers)}, cmd.Start()
}

func (p *process) ask(o order) error {
	if err := p.orders.Encode(o); err != nil {
		return err
	}
	var answer string
	if err := p.answers.Decode(&answer); err != nil {
		return err
	}
	if answer != "" {
		return errors.New(answer)
	}
	return nil
}

func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

type processHolding struct {
	holder  *processHolder
	process *process
}

func (h processHolding) renew(_ context.Context, ttl time.Duration) error {
	return h.process.ask(order{Do: orderRenew, TTL: ttl})
}

func (h processHolding) release(context.Context) error {
	return h.process.ask(order{Do: orderRelease})
}

func (h processHolding) abandon() {
	h.process.kill()
	h.holder.mu.Lock()
	defer h.holder.mu.Unlock()
	h.holder.process = nil
}

func (h processHolding) freeze(d time.Duration) {
	_ = h.process.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	_ = h.process.cmd.Process.Signal(syscall.SIGCONT)
}
