# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
"""A client in Python with one connection, which does one thing at a time. It calls the library for each read."""

import socket

TIMEOUT = 1.0


class Client:
    def __init__(self, addresses, namespace):
        host, port = addresses[0].rsplit(":", 1)
        self.address, self.namespace = (host, int(port)), namespace
        self.stream, self.generation, self.fenced = None, 0, {}

    def fetch(self, module, operation, id, user, load):
        try:
            found = self._find(module, operation, id, user)
        except OSError:
            return load()
        if found[0] != 0 and len(found) < 5:
            return None if found[0] == 2 else found[1]
        token = found[1] if found[0] == 0 else found[4]
        payload = load()
        if token != b"0":
            fill = [payload or b"", token, b"negative" if payload is None else b""]
            try:
                self._call(b"cw_set", module, operation, id, user, *fill)
            except (OSError, RuntimeError):
                pass  # the caller has its value
        return payload

    def delete(self, module, operation, id, user):
        self._call(b"cw_delete", module, operation, id, user)

    def invalidate(self, module, operation, user, soft):
        self._call(b"cw_invalidate", module, operation, user, b"soft" if soft else b"hard", b"")

    def _find(self, module, *entry):
        while True:
            generation = self.generation
            if not self.stream or self.fenced.get(module) != generation:
                self._call(b"cw_fence", module)
                generation = self.fenced[module] = self.generation
            found = self._call(b"cw_get", module, *entry)
            if self.generation == generation:
                return found

    def _call(self, name, module, *args):
        slot = f"cw:{{{self.namespace}/{module}}}".encode()
        try:
            if not self.stream:
                self.generation += 1
                self.stream = socket.create_connection(self.address, TIMEOUT).makefile("rwb")
            return self._ask(b"FCALL", name, b"1", slot, *args)
        except OSError:
            self.stream = None
            raise

    def _ask(self, *words):
        self.stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.stream.flush()
        return self._reply()

    def _reply(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError(rest.decode())
        raise ConnectionError("the connection has ended")
