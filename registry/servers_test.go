// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/redistest"
)

// The protocol holds on every server that it is documented for, not only on the one that this
// machine has.
func TestEveryServerConforms(t *testing.T) {
	for _, server := range otherServers(t) {
		t.Run(nameOf(t, server), func(t *testing.T) {
			// redistest runs the redis-server that comes first on the PATH.
			t.Setenv("PATH", filepath.Dir(server)+string(os.PathListSeparator)+os.Getenv("PATH"))
			runs := redistest.Start(t).Client().Info(t.Context(), "server").Val()
			if !strings.Contains(runs, "_version:"+versionOf(t, server)) {
				t.Fatalf("the tests would run on another server than %s, which says:\n%s", server, runs)
			}
			for name, test := range map[string]func(*testing.T){
				"calls":                    TestConformanceCalls,
				"refusals":                 TestConformanceRefusalsChangeNothing,
				"payloads":                 TestPayloadsAreUnchanged,
				"installing":               TestInstallLoadsWhatIsMissingOrOlder,
				"check":                    TestCheckNamesVersionAndRunID,
				"errors":                   TestErrorsSayWhatIsWrong,
				"access of the operator":   TestDocumentedACLSufficesForTheOperator,
				"access of a tenant":       TestDocumentedACLConfinesATenant,
				"access of a function":     TestAFunctionCannotDoWhatTheACLForbids,
				"commands":                 TestNoCommandScansOrFlushes,
				"policy and fills":         TestTheNextFillObeysThePolicy,
				"policy and entries":       TestEntriesThatAreThereObeyToo,
				"policy and loads":         TestALoadBegunBeforeAPolicyChangeIsNotStored,
				"deletions":                TestAForgottenDeletionFences,
				"scopes":                   TestInvalidationTakesExactlyWhatItNames,
				"scopes, soft":             TestSoftInvalidationMakesStaleExactlyWhatItNames,
				"reclaiming":               TestALargeInvalidationIsReclaimedInChunks,
				"stale while revalidating": TestStaleWhileRevalidate,
				"load lock":                TestLoadLock,
				"negative entries":         TestNegativeEntries,
				"eviction":                 TestEvictingAnyKeyOnlyCausesMisses,
				"statistics":               TestStatsCountWhatHappened,
			} {
				t.Run(name, test)
			}
		})
	}
}

// otherServers are the programs that hack/servers.sh fetches. Where it cannot, the test is skipped
// and says why.
func otherServers(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var messages bytes.Buffer
	command := exec.CommandContext(ctx, "../hack/servers.sh")
	command.Stderr = &messages
	paths, err := command.Output()
	if err != nil {
		t.Skipf("no server but the one on the PATH: %v\n%s", err, &messages)
	}
	return strings.Fields(string(paths))
}

// nameOf is the name of a server's folder and its version.
func nameOf(t *testing.T, server string) string {
	return filepath.Base(filepath.Dir(server)) + " " + versionOf(t, server)
}

func versionOf(t *testing.T, server string) string {
	t.Helper()
	says, err := exec.CommandContext(t.Context(), server, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", server, err)
	}
	_, version, found := strings.Cut(string(says), " v=")
	if !found {
		t.Fatalf("%s --version: %s", server, says)
	}
	return strings.Fields(version)[0]
}
