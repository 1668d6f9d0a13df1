// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"encoding/json"
	"fmt"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// candidatesFor lists JSON texts that a field may accept, and some that it should not.
func candidatesFor(schema apiextensions.JSONSchemaProps) []string {
	candidates := []string{`null`, `{}`, `[]`, `""`, `0`, `true`}
	switch schema.Type {
	case "integer", "number":
		return append(candidates, numbers(schema)...)
	case "boolean":
		return append(candidates, `false`, `1`, `"true"`)
	case "string":
		if schema.Format == "date-time" {
			return append(candidates, quoted(times)...)
		}
		return append(candidates, texts(schema)...)
	default:
		return candidates
	}
}

func numbers(schema apiextensions.JSONSchemaProps) []string {
	spellings := []string{
		`1`, `1.0`, `10e0`, `1E1`, `-0`, `-0.0`, `0e0`, `1.5`, `-1`, `1e3`, `1e9`, `1e18`, `1e30`, `1e-9`, `1e308`, `1e400`, `"1"`, `"1m"`, `"1Ki"`,
		`2147483647`, `2147483648`, `-2147483648`, `-2147483649`, `2147483648.0`, `4294967296`, `9007199254740993`,
		`9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-9223372036854775809`, `9223372036854775807.0`,
	}
	for _, bound := range []*float64{schema.Minimum, schema.Maximum} {
		if bound != nil {
			spellings = append(spellings, fmt.Sprintf("%.0f", *bound), fmt.Sprintf("%.1f", *bound), fmt.Sprintf("%.0f", *bound-1), fmt.Sprintf("%.0f", *bound+1))
		}
	}
	return spellings
}

// times are texts that RFC 3339 allows, that Kubernetes writes, that the format date-time accepts,
// and similar ones.
var times = []string{
	"2026-01-02T15:04:05Z", "2026-01-02T15:04:05.6Z", "2026-01-02T15:04:05.678Z", "2026-01-02T15:04:05.678901Z", "2026-01-02T15:04:05.678901234Z",
	"2026-01-02T15:04:05.6789012345Z", "2026-01-02T15:04:05,678901Z", "2026-01-02T15:04:05x678901Z", "2026-01-02T15:04:05.Z", "2026-01-02T15:04:05",
	"2026-01-02t15:04:05z", "2026-01-02t15:04:05.678901z", "2026-01-02T15:04:05z", "2026-01-02 15:04:05Z", "2026-01-02T15:04Z", "2026-01-02", "15:04:05Z",
	"2026-01-02T15:04:05+02:00", "2026-01-02T15:04:05.678901+02:00", "2026-01-02T15:04:05-23:59", "2026-01-02T15:04:05+24:00", "2026-01-02T15:04:05+99:99",
	"2026-01-02T15:04:05.678901+99:99", "2026-01-02T15:04:05+0200", "2026-01-02T15:04:05ZTrest", "2026-01-02T15:04:05.678901ZTrest", "2026-01-02T15:04:05Z\n",
	"2026-01-02T24:00:00Z", "2026-01-02T23:59:60Z", "2026-02-30T15:04:05Z", "2024-02-29T15:04:05Z", "2026-13-01T15:04:05Z", "2026-1-2T15:04:05Z",
	"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", "1000-01-01T00:00:00+23:59", "2999-12-31T23:59:59-23:59",
	"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z", "-2026-01-02T15:04:05Z", "1767366245", "now", "null",
}

func texts(schema apiextensions.JSONSchemaProps) []string {
	spellings := []string{
		"a", "main", "users", "A", "0", "1", "1.5", "-1", "null", "true", "~", "{}", " ", "\x00", "\t\n", "ünï 漢字 🙂", "\u2028", "a/b", "a:1", "a:65535", "a:65536", "[::1]:6379",
		"0s", "5", "5m", "1h30m", "1.5h", ".5h", "1ms", "1.5ms", "1us", "1ns", "-1s", "+1s", "1d", "720h", "721h", "PT5M", "2562048h", "99999999999ms", "1e3s",
	}
	if schema.MaxLength != nil {
		for _, letter := range []string{"a", "漢", "9", "🙂"} {
			spellings = append(spellings, strings.Repeat(letter, int(*schema.MaxLength)), strings.Repeat(letter, int(*schema.MaxLength)+1))
		}
	}
	for _, choice := range schema.Enum {
		var text string
		if json.Unmarshal(choice.Raw, &text) == nil {
			spellings = append(spellings, text, strings.ToLower(text), text+" ")
		}
	}
	return append(quoted(spellings), `"\ud800"`)
}

func quoted(texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = quote(text)
	}
	return all
}
