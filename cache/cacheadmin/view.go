// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cachewright/cachewright/cache"
)

type moduleView struct {
	Name, Path, HitRatio string
	Keys                 int64
	Operations           []operationView
}

type operationView struct {
	Name, Path, HitRatio, TTL, Held              string
	Keys, Hits, Stale, Misses, HeldReads, Errors int64
}

func viewOf(m cache.ModuleStats) moduleView {
	at := "module/" + url.PathEscape(m.Module)
	module := moduleView{Name: printable(m.Module), Path: at, Keys: m.Keys}
	var reads int64
	for _, o := range m.Operations {
		of := o.Hits + o.Stale + o.Misses
		reads += of
		module.Operations = append(module.Operations, operationView{
			Name: printable(o.Operation), Path: at + "/operation/" + url.PathEscape(o.Operation),
			HitRatio: percent(o.HitRatio(), of), TTL: short(o.TTL), Held: short(o.Held), Keys: o.Keys,
			Hits: o.Hits, Stale: o.Stale, Misses: o.Misses, HeldReads: o.HeldReads, Errors: o.Errors,
		})
	}
	module.HitRatio = percent(m.HitRatio(), reads)
	return module
}

// printable makes a name visible: control characters, and those that reorder text, are escaped.
func printable(name string) string {
	quoted := strconv.QuoteToGraphic(name)
	return quoted[1 : len(quoted)-1]
}

func percent(ratio float64, reads int64) string {
	if reads == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*ratio)
}

// short writes a duration without units that are 0.
func short(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	if d > time.Second {
		d = d.Round(time.Second)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
