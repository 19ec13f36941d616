"""Who makes a library answer and reads none of it must not grow the server.

The table is in docs/operations.md; each of its rows has a flood here, and no other.
"""

import os
import re
import select
import socket
import struct

from gimclient.cases import case
from gimclient.world import assert_equal

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
FLOOD = 24 << 20
# What one flood may leave behind: buffers of the system's and of the libraries', not the flood.
GROWTH = 12 << 20
# A socket that takes nothing for so long is full.
FULL_SECONDS = 1.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def ws_frame(opcode, data=b""):
    return bytes([0x80 | opcode, 0x80 | len(data)]) + b"\0\0\0\0" + data


def h2_frame(kind, flags, stream, data=b""):
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data


def h2_head(stream, end=True):
    """POST http /pb.LogicExt/GetFriends, without a sign-in."""
    path = b"/pb.LogicExt/GetFriends"
    block = b"\x83\x86" + b"\x44" + bytes([len(path)]) + path
    return h2_frame(1, 0x5 if end else 0x4, stream, block)


def streams():
    """The numbers of a client's streams."""
    return range(1, 1 << 31, 2)


def one_by_one(make):
    """A flood of pieces, in blocks."""
    block = []
    for number in streams():
        block.append(make(number))
        if len(block) == 200:
            yield b"".join(block)
            block = []


def again(block, count=200):
    while True:
        yield block * count


def ws_upgrade():
    return (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")


H2_HELLO = PREFACE + h2_frame(4, 0, 0)
UPLOAD = (b"POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"
          b"Content-Type: multipart/form-data; boundary=B\r\n\r\nnone")

# Name: (which listener, what is said first, what then comes without end).
FLOODS = {
    "websocket pings": ("ws", ws_upgrade(), lambda: again(ws_frame(9, b"p" * 125))),
    "websocket closes": ("ws", ws_upgrade(), lambda: again(ws_frame(8, b"\x03\xe8"))),
    "websocket errors": ("ws", ws_upgrade(), lambda: again(ws_frame(3))),
    "http2 pings": ("grpc", H2_HELLO, lambda: again(h2_frame(6, 0, 0, b"12345678"))),
    "http2 settings": ("grpc", H2_HELLO, lambda: again(h2_frame(4, 0, 0))),
    "http2 stream errors": ("grpc", H2_HELLO, lambda: one_by_one(
        lambda n: h2_head(n, end=False) + h2_frame(8, 0, n, b"\0\0\0\0"))),
    "http2 calls cancelled": ("grpc", H2_HELLO, lambda: one_by_one(
        lambda n: h2_head(n) + h2_frame(3, 0, n, b"\0\0\0\x08"))),
    "http2 calls": ("grpc", H2_HELLO, lambda: one_by_one(h2_head)),
    "http2 data": ("grpc", H2_HELLO + h2_head(1, end=False),
                   lambda: again(h2_frame(0, 0, 1, b"d" * 1_000))),
    "http1 requests": ("http", b"", lambda: again(b"GET /file/x HTTP/1.1\r\nHost: x\r\n\r\n")),
    "http1 expect": ("http", b"", lambda: again(UPLOAD)),
    "http1 errors": ("http", b"", lambda: again(b"nonsense\r\n\r\n")),
}


def rows():
    """The first column of the table."""
    with open(os.path.join(ROOT, "docs", "operations.md"), encoding="utf-8") as page:
        text = page.read()
    table = text.split("### What libraries answer by themselves")[1].split("\n### ")[0]
    return re.findall(r"^\| `([^`]+)` \| (\w+) ([\d.]+) ", table, re.MULTILINE)


def resident(server):
    with open("/proc/%d/statm" % server.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pour(sock, blocks):
    """Writes until the server takes no more, hangs up, or has taken the whole flood."""
    sent = 0
    try:
        for block in blocks:
            left = memoryview(block)
            while left:
                if not select.select([], [sock], [], FULL_SECONDS)[1]:
                    return sent
                taken = sock.send(left)
                left, sent = left[taken:], sent + taken
            if sent >= FLOOD:
                return sent
    except OSError:
        pass
    return sent


@case
def p1_every_flood_that_a_library_answers_is_bounded(w):
    addresses = dict(ws=w.server.ws_address, http=w.server.http_address,
                     grpc=w.server.logic.address)
    assert_equal(sorted(FLOODS), sorted(name for name, _, _ in rows()))
    grew = []
    for name, (where, first, flood) in FLOODS.items():
        before = resident(w.server)
        sock = w.keep(socket.create_connection(addresses[where], 10))
        sock.setblocking(False)
        sock.send(first)
        pour(sock, flood())
        grown = resident(w.server) - before
        if grown >= GROWTH:
            grew.append("%s: the server grew by %d KiB" % (name, grown >> 10))
    assert_equal(grew, [])


@case
def p1_the_libraries_are_those_that_were_looked_at(w):
    """A new version may answer something new: look, then change the table."""
    with open(os.path.join(ROOT, "Cargo.lock"), encoding="utf-8") as file:
        locked = dict(re.findall(r'name = "([\w-]+)"\nversion = "([^"]+)"', file.read()))
    for _, library, version in rows():
        assert locked[library].startswith(version + "."), (library, locked[library], version)
