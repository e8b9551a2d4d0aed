"""A WebSocket client on zlib, for the server under test: python3 deflate_client.py SPEC

SPEC is JSON: host, port, paths; offer (Sec-WebSocket-Extensions) and answer (what it must be answered); level, strategy and
memlevel of zlib; how a message is cut ("whole", "cut", "flushed") and ended ("sync", "finish"); seed. Every message must
come back as it went. At the end one line of JSON says what was on the wire. Any disagreement ends it with status 1.

The answers are inflated in exactly the window that was agreed on: zlib keeps no more than that behind its output, and is
given room for one byte at a time, so that a distance beyond the window finds nothing and fails.
"""

import base64
import hashlib
import json
import os
import random
import socket
import struct
import sys
import zlib

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TAIL = b"\x00\x00\xff\xff"  # RFC 7692, section 7.2.1


class Disagreement(Exception):
    pass


def need(condition, message):
    if not condition:
        raise Disagreement(message)


class Peer:
    def __init__(self, spec, path):
        self.spec = spec
        self.random = random.Random(spec["seed"])
        self.socket = socket.create_connection((spec["host"], spec["port"]), timeout=spec["timeout"])
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")
        self.deflated = self.inflated = self.deflated_wire = self.inflated_wire = 0
        self.handshake(path)
        self.deflater = self.inflater = None

    def handshake(self, path):
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET %s HTTP/1.1" % path,
            "Host: %s:%d" % (self.spec["host"], self.spec["port"]),
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: " + key,
        ]
        lines += ["Sec-WebSocket-Extensions: " + offer for offer in self.spec["offers"]]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = self.input.readline()
        need(status.startswith(b"HTTP/1.1 101 "), "status %r" % status)
        headers = {}
        while True:
            line = self.input.readline().decode().rstrip("\r\n")
            if line == "":
                break
            name, value = line.split(":", 1)
            need(name.lower() not in headers, "two of %s" % name)
            headers[name.lower()] = value.strip()
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        need(headers.get("sec-websocket-accept") == base64.b64encode(digest).decode(), "wrong accept")
        answer = headers.get("sec-websocket-extensions", "")
        need(answer == self.spec["answer"], "answered %r, want %r" % (answer, self.spec["answer"]))
        self.agreed = answer != ""
        terms = dict((p.strip() + "=").split("=")[:2] for p in answer.split(";"))
        self.server_alone = "server_no_context_takeover" in terms
        self.client_alone = "client_no_context_takeover" in terms
        self.server_bits = int(terms.get("server_max_window_bits", 15))
        # zlib cannot deflate with 8; with 9 its distances end at 250, 262 below the window.
        self.client_bits = max(9, int(terms.get("client_max_window_bits", 15)))

    def frame(self, opcode, payload, fin=True, rsv=0):
        head = bytes([fin << 7 | rsv << 4 | opcode])
        n = len(payload)
        if n < 126:
            head += bytes([0x80 | n])
        elif n < 65536:
            head += struct.pack(">BH", 0x80 | 126, n)
        else:
            head += struct.pack(">BQ", 0x80 | 127, n)
        mask = os.urandom(4)
        keys = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(n, "big")
        return head + mask + masked

    def deflate(self, parts):
        """Returns the payloads of the frames of a message."""
        spec = self.spec
        if self.deflater is None or self.client_alone:
            self.deflater = zlib.compressobj(spec["level"], zlib.DEFLATED, -self.client_bits, spec["memlevel"], spec["strategy"])
        out = []
        for i, part in enumerate(parts):
            data = self.deflater.compress(part)
            if i == len(parts) - 1:
                if spec["end"] == "finish":  # a last block, RFC 7692, section 7.2.3.4
                    need(self.client_alone, "a last block ends the context, too")
                    data += self.deflater.flush(zlib.Z_FINISH) + b"\x00"
                else:
                    data += self.deflater.flush(zlib.Z_SYNC_FLUSH)
                    need(data.endswith(TAIL), "zlib did not flush")
                    data = data[:-4]
            elif spec["cut"] == "flushed":  # several blocks, RFC 7692, section 7.2.3.5
                data += self.deflater.flush(zlib.Z_SYNC_FLUSH)
            out.append(data)
        self.deflated += sum(map(len, parts))
        self.deflated_wire += sum(map(len, out))
        return out

    def inflate(self, data):
        if self.inflater is None or self.server_alone:
            self.inflater = zlib.decompressobj(-self.server_bits)
        out = bytearray()
        whole = data + TAIL
        for i in range(0, len(whole), 16):
            piece = whole[i : i + 16]
            while True:
                got = self.inflater.decompress(piece, 1)
                out += got
                piece = self.inflater.unconsumed_tail
                if not got and not piece:
                    break
                need(not self.inflater.eof, "a last block in an answer")
        self.inflated += len(out)
        self.inflated_wire += len(data)
        return bytes(out)

    def send(self, opcode, payload, raw=False):
        parts = [payload]
        if self.spec["cut"] != "whole" and len(payload) > 1:
            at = sorted(self.random.randrange(len(payload) + 1) for _ in range(self.random.randrange(1, 5)))
            parts = [payload[a:b] for a, b in zip([0] + at, at + [len(payload)])]
        rsv = 0
        if self.agreed and not raw:
            parts, rsv = self.deflate(parts), 4
        wire = b""
        for i, part in enumerate(parts):
            if i > 0 and self.random.random() < 0.3:
                wire += self.frame(PING, b"between fragments")
            wire += self.frame(opcode if i == 0 else CONTINUATION, part, i == len(parts) - 1, rsv if i == 0 else 0)
        self.socket.sendall(wire)

    def read_frame(self):
        head = self.input.read(2)
        need(len(head) == 2, "the connection ended")
        need(not head[1] & 0x80, "a masked frame from the server")
        n = head[1]
        if n == 126:
            (n,) = struct.unpack(">H", self.input.read(2))
        elif n == 127:
            (n,) = struct.unpack(">Q", self.input.read(8))
        payload = self.input.read(n)
        need(len(payload) == n, "a frame was cut off")
        return bool(head[0] & 0x80), head[0] >> 4 & 7, head[0] & 15, payload

    def receive(self):
        kind, compressed, data = None, False, b""
        while True:
            fin, rsv, opcode, payload = self.read_frame()
            if opcode == PONG:
                need(rsv == 0 and payload == b"between fragments", "pong %r" % payload)
                continue
            if opcode == CLOSE:
                raise Disagreement("closed: %r" % payload)
            if kind is None:
                need(opcode in (TEXT, BINARY), "opcode %d first" % opcode)
                need(rsv == 0 or rsv == 4 and self.agreed, "reserved bits %d" % rsv)
                kind, compressed = opcode, rsv == 4
            else:
                need(opcode == CONTINUATION and rsv == 0, "opcode %d, reserved bits %d inside a message" % (opcode, rsv))
            data += payload
            if fin:
                return kind, self.inflate(data) if compressed else data

    def expect(self, opcode, payload):
        kind, got = self.receive()
        need(kind == opcode, "opcode %d, want %d" % (kind, opcode))
        need(got == payload, "%d bytes came back as %d: %.40r" % (len(payload), len(got), got))

    def echo(self, opcode, payload, raw=False):
        self.send(opcode, payload, raw)
        self.expect(opcode, payload)

    def close(self):
        self.socket.sendall(self.frame(CLOSE, struct.pack(">H", 1000)))
        while True:
            _, rsv, opcode, payload = self.read_frame()
            if opcode == CLOSE:
                need(rsv == 0 and payload[:2] == b"\x03\xe8", "close %r" % payload)
                break
            need(opcode == PONG, "opcode %d after close" % opcode)
        need(self.input.read(1) == b"", "data behind the close frame")
        self.socket.close()


def prose(r, n):
    words = []
    size = 0
    while size < n:
        words.append('{"id":%d,"name":"\u00fcser %d","tags":["a%d","\u2603"]},' % (r.randrange(10**6), r.randrange(1000), r.randrange(10)))
        size += len(words[-1].encode())
    text = "".join(words).encode()[:n].decode("utf-8", "ignore").encode()
    return text + b" " * (n - len(text))


def converse(peer, large):
    r = peer.random
    for n in (0, 1, 2, 125, 126, 300, 511, 512, 513, 4095, 20000):
        peer.echo(TEXT, prose(r, n))
        if n < 5000:
            peer.echo(BINARY, os.urandom(n))
            peer.echo(BINARY, prose(r, n), raw=True)  # enters no history
    if large:
        peer.echo(TEXT, prose(r, 70000))
        peer.echo(TEXT, prose(r, peer.spec["largest"]))
    several = [prose(r, r.randrange(0, 900)) for _ in range(30)]
    for i, m in enumerate(several):
        peer.send(TEXT, m, raw=i % 7 == 3)
    for m in several:
        peer.expect(TEXT, m)

    # Nothing in this repeats itself, and the smallest window holds it: again it is short only with what was taken over.
    unlike = os.urandom(64).hex().encode()
    before = peer.deflated_wire, peer.inflated_wire, peer.inflated
    for _ in range(20):
        peer.echo(TEXT, unlike)
    plain = 20 * len(unlike)
    wire = peer.deflated_wire - before[0], plain - (peer.inflated - before[2]) + peer.inflated_wire - before[1]
    if peer.agreed:
        for direction, bytes_, alone in ("sent", wire[0], peer.client_alone), ("received", wire[1], peer.server_alone):
            if direction == "sent" and (peer.spec["level"] == 0 or peer.spec["strategy"] == zlib.Z_HUFFMAN_ONLY):
                continue
            need((bytes_ < plain / 3) != alone, "%s: %d bytes became %d, taken over: %s" % (direction, plain, bytes_, not alone))


def main():
    spec = json.loads(sys.argv[1])
    totals = {"deflated": 0, "deflatedWire": 0, "inflated": 0, "inflatedWire": 0}
    for i, path in enumerate(spec["paths"]):
        try:
            peer = Peer(spec, path)
            converse(peer, i == spec["seed"] % len(spec["paths"]))  # large ones take their time
            peer.close()
        except (Disagreement, OSError, zlib.error) as e:
            sys.exit("%s: %s: %s" % (path, type(e).__name__, e))
        for name, value in zip(totals, (peer.deflated, peer.deflated_wire, peer.inflated, peer.inflated_wire)):
            totals[name] += value
    print(json.dumps(totals))


main()
