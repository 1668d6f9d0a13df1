// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime/debug"
	"strings"
)

// bill is a bill of materials in SPDX 2.3: the modules that a binary was built from.
type bill struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creation       `json:"creationInfo"`
	Packages          []part         `json:"packages"`
	Relationships     []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type part struct {
	SPDXID           string     `json:"SPDXID"`
	Name             string     `json:"name"`
	VersionInfo      string     `json:"versionInfo"`
	DownloadLocation string     `json:"downloadLocation"`
	ExternalRefs     []external `json:"externalRefs"`
}

type external struct {
	ReferenceCategory string `json:"referenceCategory"`
	ReferenceType     string `json:"referenceType"`
	ReferenceLocator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// writeBill writes what the binary itself says it was built from.
func writeBill(b build, path string) error {
	info, err := buildinfo.ReadFile(b.binary)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(b.binary)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(content)
	text, err := json.MarshalIndent(billOf(info, hex.EncodeToString(digest[:])), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // others publish it
}

// billOf names the document by the binary, so that equal binaries have equal bills.
func billOf(info *buildinfo.BuildInfo, digest string) bill {
	of := bill{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: "operator",
		DocumentNamespace: "https://" + info.Main.Path + "/operator/" + digest,
		CreationInfo: creation{
			Created:  epoch.Format("2006-01-02T15:04:05Z"),
			Creators: []string{"Tool: cachewright-image"},
		},
	}
	main := partOf(&info.Main)
	goItself := part{
		SPDXID: "SPDXRef-Package-go", Name: "stdlib", VersionInfo: info.GoVersion,
		DownloadLocation: "NOASSERTION",
		ExternalRefs:     purl("pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go")),
	}
	of.Packages = append(of.Packages, main, goItself)
	of.Relationships = append(of.Relationships,
		relationship{of.SPDXID, "DESCRIBES", main.SPDXID},
		relationship{main.SPDXID, "DEPENDS_ON", goItself.SPDXID})
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		p := partOf(module)
		of.Packages = append(of.Packages, p)
		of.Relationships = append(of.Relationships, relationship{main.SPDXID, "DEPENDS_ON", p.SPDXID})
	}
	return of
}

func partOf(module *debug.Module) part {
	id := strings.Map(func(r rune) rune {
		if strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-", r) {
			return r
		}
		return '-'
	}, module.Path)
	return part{
		SPDXID: "SPDXRef-Package-" + id, Name: module.Path, VersionInfo: module.Version,
		DownloadLocation: "NOASSERTION",
		ExternalRefs:     purl("pkg:golang/" + module.Path + "@" + module.Version),
	}
}

func purl(locator string) []external {
	return []external{{"PACKAGE-MANAGER", "purl", locator}}
}
