"""Writes tests/vectors/wire.json: golden bytes of the wire, from first principles.

It encodes protobuf by hand (varints, tags, lengths; nothing but the standard
library and no .proto file), so that the vectors do not depend on the library
they check. Run `python3 proto/tests/golden.py` to print the file, with `--check`
to compare it with the one in the repository.
"""

import json
import pathlib
import struct
import sys

TARGET = pathlib.Path(__file__).resolve().parents[2] / "tests" / "vectors" / "wire.json"


def varint(n):
    n &= (1 << 64) - 1  # a negative int64 is ten bytes of two's complement
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def num(field, n):
    """A varint field; proto3 leaves out 0."""
    return varint(field << 3) + varint(n) if n else b""


def blob(field, value):
    """A string, bytes or message field; proto3 leaves out the empty one."""
    value = value.encode() if isinstance(value, str) else value
    return message(field, value) if value else b""


def message(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def packed(field, numbers):
    return blob(field, b"".join(varint(n) for n in numbers))


def frame(body):
    return struct.pack(">H", len(body)) + body


def inp(kind, request_id, data=b""):
    return num(1, kind) + num(2, request_id) + blob(3, data)


def out(kind, request_id=0, code=0, text="", data=b""):
    return num(1, kind) + num(2, request_id) + num(3, code) + blob(4, text) + blob(5, data)


def chat(sender, receiver_type, receiver, at, kind, content, seq, sent, status, mid=b""):
    return (
        message(1, sender) + num(2, receiver_type) + num(3, receiver) + packed(4, at)
        + num(5, kind) + blob(6, content) + num(7, seq) + num(8, sent) + num(9, status)
        + blob(20, mid)
    )


REQUEST = 1652227200123456789
SENT = 1652227200000
UUID = bytes.fromhex("018f3a5c7b2e7c4d8e9fa0b1c2d3e4f5")
EPOCH = 0x9E3779B97F4A7C15
ALICE = num(1, 2) + num(2, 2) + num(3, 7) + blob(4, "http://a/1.png") + blob(5, "Alice") + blob(6, "x")
ALICE_SYNCED = num(1, 2) + num(2, 2) + blob(4, "http://a/1.png") + blob(5, "Alice")
BOB_SYNCED = num(1, 2) + num(2, 3) + blob(4, "http://a/2.png") + blob(5, "鲍勃")
SYSTEM = num(1, 1)
HI = blob(1, "hi")
HELLO = blob(1, "hello 👋")
ASK = num(1, 2) + blob(2, "Alice") + blob(3, "http://a/1.png") + blob(4, "it is me")
COMMAND = num(1, 100) + blob(2, ASK)
FIRST = chat(ALICE_SYNCED, 1, 3, [], 1, HI, 1, SENT, 1)
SECOND = chat(BOB_SYNCED, 2, 9, [2, 300], 1, HELLO, 2, SENT + 1, 1)
FIRST_GIMLET = chat(ALICE_SYNCED, 1, 3, [], 1, HI, 1, SENT, 1, UUID)
SEND = num(1, 1) + num(2, 3) + num(4, 1) + blob(5, HI) + num(6, SENT) + num(7, 1)

PACKETS = [
    ("client", "sign_in", "SIGN_IN of a client of gim: device 7, user 2, token \"0\"",
     inp(1, REQUEST, num(1, 7) + num(2, 2) + blob(3, "0"))),
    ("client", "sign_in_gimlet", "SIGN_IN of a client that speaks our extension: protocol 1, request 1",
     inp(1, 1, num(1, 7) + num(2, 2) + blob(3, "secret") + num(20, 1))),
    ("client", "sync", "SYNC from seq 41", inp(2, REQUEST, num(1, 41))),
    ("client", "sync_from_nothing", "SYNC from seq 0: no data at all", inp(2, REQUEST)),
    ("client", "heartbeat", "HEARTBEAT", inp(3, REQUEST)),
    ("client", "ack", "ACK of seq 42; its fields start at 2; request 0 as fim sends it",
     inp(4, 0, num(2, 42) + num(3, SENT))),
    ("client", "subscribe_room", "SUBSCRIBE_ROOM as gim's tcp_conn sends it: room 1, live only, request 0",
     inp(5, 0, num(1, 1))),
    ("client", "subscribe_room_from", "SUBSCRIBE_ROOM of room 300 from seq 5",
     inp(5, REQUEST, num(1, 300) + num(2, 5))),
    ("client", "send", "PT_SEND of a text to user 3, with a client message id",
     inp(16, 8, SEND + blob(20, "c-1"))),
    ("client", "empty", "a frame of length 0: a packet of type 0", b""),
    ("server", "sign_in_ok", "SIGN_IN accepted, for a client of gim: no data", out(1, REQUEST)),
    ("server", "sign_in_ok_gimlet", "SIGN_IN accepted, for a client that speaks our extension: epoch, head 42",
     out(1, 1, data=num(1, EPOCH) + num(2, 42))),
    ("server", "sign_in_refused", "SIGN_IN refused: code 10000",
     out(1, REQUEST, 10000, "please sign in again")),
    ("server", "sync_page", "SYNC page for a client of gim: two messages, more to come",
     out(2, REQUEST, data=message(1, FIRST) + message(1, SECOND) + num(2, 1))),
    ("server", "sync_empty", "SYNC with nothing new, for a client of gim: no data", out(2, REQUEST)),
    ("server", "sync_page_gimlet", "SYNC page with our extension: message id, epoch, head 1, floor 0",
     out(2, 2, data=message(1, FIRST_GIMLET) + num(20, EPOCH) + num(21, 1))),
    ("server", "heartbeat_ok", "HEARTBEAT answered, for a client of gim", out(3, REQUEST)),
    ("server", "heartbeat_ok_gimlet", "HEARTBEAT answered with epoch and head 42",
     out(3, 3, data=num(1, EPOCH) + num(2, 42))),
    ("server", "push_text", "a text pushed live, sender with device, request 0",
     out(4, data=message(1, chat(ALICE, 1, 3, [], 1, HI, 43, SENT, 1)))),
    ("server", "push_add_friend", "command 100: user 2 asks user 3 to be a friend",
     out(4, data=message(1, chat(SYSTEM, 1, 3, [], 7, COMMAND, 44, SENT, 1)))),
    ("server", "push_room", "a room message: receiver type 3, room seq 5, status 0",
     out(4, data=message(1, chat(ALICE, 3, 1, [], 1, HI, 5, SENT, 0)))),
    ("server", "subscribe_room_ok", "SUBSCRIBE_ROOM answered, request 0", out(5)),
    ("server", "send_ok", "PT_SEND answered: seq 43, message id, not repeated",
     out(16, 8, data=num(1, 43) + blob(20, UUID))),
    ("server", "send_repeated", "PT_SEND answered again: the same with repeated set",
     out(16, 9, data=num(1, 43) + blob(20, UUID) + num(21, 1))),
    ("server", "close_shutdown", "PT_CLOSE: code 4000, come back now with jitter, not before 1500 ms",
     out(17, data=num(1, 4000) + blob(2, "shutting down") + num(3, 1) + num(4, 1500))),
    ("server", "close_superseded", "PT_CLOSE: code 4300, do not come back",
     out(17, data=num(1, 4300) + blob(2, "signed in elsewhere") + num(3, 4))),
]

# Payloads that a server must read although it would not write them in this form.
PAYLOADS = [
    ("SendMessageReq", "send_unpacked",
     "to_user_ids [2, 300, 5] as fim writes them: one tag a number instead of one packed field",
     num(1, 2) + num(2, 9) + num(3, 2) + num(3, 300) + num(3, 5) + num(4, 1) + blob(5, HI)
     + num(6, SENT) + num(7, 1)),
    ("SendMessageReq", "send_with_unknown_fields",
     "unknown fields 90 (number), 91 (bytes), 92 (double) and 93 (float) around the known ones",
     num(90, 1) + SEND + blob(91, "later") + varint(92 << 3 | 1) + struct.pack("<d", 1.5)
     + varint(93 << 3 | 5) + struct.pack("<f", 1.5)),
    ("Sender", "sender_generation_a",
     "a Sender of generation A: user 2, avatar_url at 3, nickname at 4, extra at 5",
     num(1, 2) + num(2, 2) + blob(3, "http://a/1.png") + blob(4, "Alice") + blob(5, "x")),
]


def render():
    return json.dumps(
        {
            "packets": [
                {"from": who, "name": name, "says": says, "frame": frame(body).hex()}
                for who, name, says, body in PACKETS
            ],
            "payloads": [
                {"type": kind, "name": name, "says": says, "bytes": body.hex()}
                for kind, name, says, body in PAYLOADS
            ],
        },
        indent=2,
        ensure_ascii=False,
    ) + "\n"


if "--check" in sys.argv[1:]:
    if TARGET.read_text(encoding="utf-8") != render():
        sys.exit("tests/vectors/wire.json is not what proto/tests/golden.py computes")
else:
    sys.stdout.buffer.write(render().encode())
