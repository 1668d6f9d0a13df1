// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// families are the commands whose first argument tells them apart.
var families = map[string]bool{
	"ACL": true, "CLIENT": true, "CLUSTER": true, "CONFIG": true, "FUNCTION": true, "SENTINEL": true,
}

// callOf names a request: the command, with its subcommand or the name of the function.
func callOf(request []string) string {
	command := strings.ToUpper(request[0])
	switch {
	case len(request) < 2:
		return command
	case families[command]:
		return command + " " + strings.ToUpper(request[1])
	case command == "FCALL" || command == "FCALL_RO":
		return command + " " + request[1]
	default:
		return command
	}
}

// readRequest reads a call, which clients send as an array of strings.
func readRequest(r *bufio.Reader) ([]string, error) {
	count, err := readHeader(r, '*')
	if err != nil {
		return nil, err
	}
	request := make([]string, count)
	for i := range request {
		length, err := readHeader(r, '$')
		if err != nil {
			return nil, err
		}
		argument := make([]byte, length+len("\r\n"))
		if _, err := io.ReadFull(r, argument); err != nil {
			return nil, err
		}
		request[i] = string(argument[:length])
	}
	return request, nil
}

func readHeader(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if line[0] != kind || err != nil || kind == '*' && number < 1 {
		return 0, fmt.Errorf("unexpected start of a request: %q", line)
	}
	return number, nil
}

func encodeRequest(request []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(request))
	for _, argument := range request {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(argument), argument)
	}
	return b.Bytes()
}

// readFrame returns the bytes of one reply. It trusts Redis.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var frame bytes.Buffer
	for open := 1; open > 0; open-- {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		frame.Write(line)
		length, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
		if err != nil || length < 0 {
			continue // a line of text, or nil
		}
		switch line[0] {
		case '$', '=', '!':
			if _, err := io.CopyN(&frame, r, int64(length+len("\r\n"))); err != nil {
				return nil, err
			}
		case '*', '~', '>':
			open += length
		case '%', '|':
			open += 2 * length
		}
	}
	return frame.Bytes(), nil
}
