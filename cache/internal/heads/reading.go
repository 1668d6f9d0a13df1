// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import "context"

// reading is a head as it was before it was read, and what was read.
type reading struct {
	head    *head
	changes int
	before  string // the value that was known last
	value   string // "" if there is no head
	log     string // the end of the log of deletions
}

// take returns some of the heads that must be read. Stamps wait meanwhile, so it does not go
// through all heads.
func (t *Tracker) take() (taken []*reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.unknown) > 0 && len(taken) < batch {
		h := t.unknown[0]
		t.unknown = t.unknown[1:]
		h.waits = false
		if t.heads[h.key] == h {
			h.reading = true
			if t.Used != nil && h.operation != "" {
				h.used = t.Used(h.operation)
			}
			taken = append(taken, &reading{head: h, changes: h.changes, before: h.value})
		}
	}
	return taken
}

// readTaken reads heads and then the ends of their logs, so that these tell of all deletions up to
// the values of the heads. A longer end is read only if a short one does not reach back far enough.
func (t *Tracker) readTaken(ctx context.Context, l *link, taken []*reading) error {
	keys := make([]string, len(taken))
	for i, r := range taken {
		keys[i] = r.head.key
	}
	values, logs, err := l.readHeads(ctx, keys, mayTell(taken))
	if err != nil {
		return err
	}
	for i, r := range taken {
		r.value, _ = values[i].(string)
		r.log = logs[r.head.log]
	}
	if longer := tellTooLittle(taken); len(longer) > 0 {
		if logs, err = l.readLogs(ctx, longer, longTail); err != nil {
			return err
		}
		for _, r := range taken {
			if log, read := logs[r.head.log]; read {
				r.log = log
			}
		}
	}
	t.record(taken)
	return nil
}

// mayTell returns the logs of operations whose heads had a value: only a change is looked up.
func mayTell(taken []*reading) (logs []string) {
	for _, r := range taken {
		if r.head.log != "" && r.before != "" {
			logs = append(logs, r.head.log)
		}
	}
	return logs
}

// tellTooLittle returns the logs that must be read further back.
func tellTooLittle(taken []*reading) (logs []string) {
	for _, r := range taken {
		if len(r.log) < shortTail || r.before == r.value || !differOnlyByFence(r.before, r.value) {
			continue
		}
		if _, told := deletedSince(r.log, r.before); !told {
			logs = append(logs, r.head.log)
		}
	}
	return logs
}

// record stores the values that were read. A head that changed again meanwhile stays to be read.
func (t *Tracker) record(taken []*reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range taken {
		h := r.head
		h.reading = false
		if t.heads[h.key] != h {
			continue
		}
		state := h.state.Load()
		if !h.survives(r) {
			state += 2 // all Stamps end
		}
		h.value = r.value
		if h.changes == r.changes {
			state--
		} else {
			t.request(h)
		}
		h.state.Store(state)
	}
}

// survives says whether Stamps with a head outlive what was read. It ends those of the entries that
// were deleted. It requires Tracker.mu.
func (h *head) survives(r *reading) bool {
	switch {
	case r.value == "": // two missing heads may differ: one existed in between
		return false
	case r.value == h.value:
		return true
	case h.log == "" || !differOnlyByFence(h.value, r.value):
		return false
	}
	deleted, told := deletedSince(r.log, h.value)
	for _, entry := range deleted {
		h.entries.delete(entry)
	}
	return told
}
