// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"os"
	"strings"
	"testing"
)

// figuresOfThePage are what docs/protocol.md says of this client, and the lines of code that say it,
// too.
var figuresOfThePage = []struct{ row, file, line string }{
	{"| time for the calls of a read | MUST be bounded, and leave the caller time to load | 100 ms in total,", "settings.go", "defaultTimeout             = 100 * time.Millisecond"},
	{"| time for an invalidation, a hold, a release | SHOULD be longer | 2 s |", "settings.go", "defaultInvalidationTimeout = 2 * time.Second"},
	{"| 3 failures, 500 ms |", "internal/gateway/breaker.go", "maxFailures = 3"},
	{"| 3 failures, 500 ms |", "internal/gateway/breaker.go", "pause = 500 * time.Millisecond"},
	{"| slow: half of the time for a call |", "internal/gateway/breaker.go", "case time.Since(c.began) <= c.timeout/2:"},
	{"| pauses from 50 ms to 5 s |", "internal/outbox/deliver.go", "firstPause = 50 * time.Millisecond"},
	{"| pauses from 50 ms to 5 s |", "internal/outbox/deliver.go", "maxPause   = 5 * time.Second"},
	{"| 100 scopes of a module, 1,000 modules |", "internal/outbox/outbox.go", "maxScopes = 100"},
	{"| 100 scopes of a module, 1,000 modules |", "internal/outbox/outbox.go", "maxModules = 1000"},
	{"| releases of holds without an answer | MUST be sent until there is an answer, or the hold has ended | 10,000 |", "internal/outbox/releases.go", "maxReleases = 10_000"},
	{"| 1 s, at most half of the caller's time; reads every 4 to 64 ms |", "settings.go", "defaultLoadWait            = time.Second"},
	{"| 1 s, at most half of the caller's time; reads every 4 to 64 ms |", "internal/loads/wait.go", "firstWait = 4 * time.Millisecond"},
	{"| 1 s, at most half of the caller's time; reads every 4 to 64 ms |", "internal/loads/wait.go", "maxWait   = 64 * time.Millisecond"},
	{"| 10 s, 32 at a time; 1 s of pause after a failure |", "settings.go", "defaultRefreshTimeout      = 10 * time.Second"},
	{"| 10 s, 32 at a time; 1 s of pause after a failure |", "internal/refresh/refresh.go", "maxRefreshes = 32"},
	{"| 10 s, 32 at a time; 1 s of pause after a failure |", "internal/refresh/refresh.go", "refreshBackoff = time.Second"},
	{"| every 10 s, 1,000 operations |", "settings.go", "defaultReportInterval      = 10 * time.Second"},
	{"| every 10 s, 1,000 operations |", "internal/report/report.go", "maxOperations = 1000"},
	{"| 200 entries, 1 ms |", "internal/gateway/reclaim.go", "reclaimLimit = 200"},
	{"| 200 entries, 1 ms |", "internal/gateway/reclaim.go", "reclaimPause = time.Millisecond"},
	{"Go: every 400 ms, trusted for 1 second.", "internal/heads/link.go", "heartbeat = 400 * time.Millisecond"},
	{"Go: every 400 ms, trusted for 1 second.", "internal/heads/heads.go", "maxSilence = time.Second"},
	{"Go: 10,000 entries, 64 MiB and a minute,", "internal/near/bounds.go", "defaultEntries = 10_000"},
	{"Go: 10,000 entries, 64 MiB and a minute,", "internal/near/bounds.go", "defaultBytes   = 64 << 20"},
	{"Go: 10,000 entries, 64 MiB and a minute,", "internal/near/bounds.go", "defaultAge     = time.Minute"},
	{"and may ask again a minute later.", "internal/fence/ensure.go", "oldLibraryPause = time.Minute"},
	{"Take the first 18 bytes of its SHA-256", "internal/params/params.go", "idBytes = 18"},
}

func TestTheProtocolSaysWhatThisClientDoes(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read("../docs/protocol.md")
	for _, figure := range figuresOfThePage {
		if !strings.Contains(page, figure.row) {
			t.Errorf("docs/protocol.md does not say %q", figure.row)
		}
		if !strings.Contains(read(figure.file), figure.line) {
			t.Errorf("%s has no %q, which docs/protocol.md says: %s", figure.file, figure.line, figure.row)
		}
	}
}
