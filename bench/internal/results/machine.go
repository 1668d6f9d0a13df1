// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package results

import (
	"context"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Machine is what parts say of where they were measured.
type Machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	Redis string `json:"redis"`
	Date  string `json:"date"`
}

// ThisMachine describes this one, today, with the Redis of a client.
func ThisMachine(ctx context.Context, client *redis.Client) (Machine, error) {
	info := client.InfoMap(ctx, "server")
	return Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Redis: info.Item("Server", "redis_version"),
		Date: time.Now().UTC().Format(time.DateOnly),
	}, info.Err()
}

// cpuModel returns the model that Linux reports. On other systems, it returns the architecture.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}
