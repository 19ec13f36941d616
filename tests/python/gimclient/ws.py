"""WebSocket (RFC 6455): one message is one packet, binary with protobuf or a text with JSON. Client
side only.
"""

import base64
import hashlib
import os
import struct

from .deadline import within
from .link import Closed, Stream

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10


class NotUpgraded(Exception):
    """The server answered the handshake with a status other than 101."""


class ProtocolError(Exception):
    """The server violated RFC 6455 or sent a message of the other kind, binary or text."""


class WsLink:
    def __init__(self, address, path="/ws", origin=None, protocol=None):
        """`origin` and `protocol` are sent as a browser sends them; gim's clients send none."""
        self.stream = Stream(address)
        self.pongs = []
        self.kind = _TEXT if protocol == "gimlet.json.v1" else _BINARY
        try:
            self._handshake("%s:%d" % address, path, origin, protocol)
        except BaseException:
            self.stream.close()
            raise

    def _handshake(self, host, path, origin, protocol):
        key = base64.b64encode(os.urandom(16))
        request = (
            "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n"
            "%s%s\r\n" % (path, host, key.decode(), "Origin: %s\r\n" % origin if origin else "",
                         "Sec-WebSocket-Protocol: %s\r\n" % protocol if protocol else ""))
        self.stream.write(request.encode())
        deadline = within(None)
        while b"\r\n\r\n" not in self.stream.buffer:
            self.stream.fill(len(self.stream.buffer) + 1, deadline)
        head = self.stream.take(self.stream.buffer.index(b"\r\n\r\n") + 4).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        if status.split()[1] != "101":
            raise NotUpgraded(status)
        headers = {k.strip().lower(): v.strip() for k, v in (l.split(":", 1) for l in lines)}
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        if headers.get("sec-websocket-accept") != accept:
            raise ProtocolError("wrong Sec-WebSocket-Accept")
        if headers.get("sec-websocket-protocol") != protocol:
            raise ProtocolError("the subprotocol is %r" % headers.get("sec-websocket-protocol"))

    def send(self, body):
        self.stream.write(_masked(self.kind, body))

    def send_together(self, bodies):
        """Sends several messages in one write."""
        self.stream.write(b"".join(_masked(self.kind, body) for body in bodies))

    def send_in_fragments(self, pieces):
        """Sends one message as several frames."""
        last = len(pieces) - 1
        self.stream.write(b"".join(
            _masked(_CONTINUATION if i else self.kind, piece, final=i == last)
            for i, piece in enumerate(pieces)))

    def ping(self, data):
        self.stream.write(_masked(_PING, data))

    def receive(self, timeout=None):
        deadline = within(timeout)
        message, started = b"", False
        while True:
            final, opcode, data = self._frame(deadline)
            if opcode == _PING:
                self.stream.write(_masked(_PONG, data))
            elif opcode == _PONG:
                self.pongs.append(data)
            elif opcode == _CLOSE:
                raise Closed("close frame %r" % data)
            elif opcode != (_CONTINUATION if started else self.kind):
                raise ProtocolError("opcode %d from the server" % opcode)
            else:
                message, started = message + data, True
                if final:
                    return message

    def _frame(self, deadline):
        self.stream.fill(2, deadline)
        first, second = self.stream.buffer[:2]
        if first & 0x70 or second & 0x80:
            raise ProtocolError("reserved bits or a mask in a server's frame")
        head, size = 2, second
        if second == 126:
            head = 4
            self.stream.fill(head, deadline)
            (size,) = struct.unpack(">H", self.stream.buffer[2:4])
        elif second == 127:
            head = 10
            self.stream.fill(head, deadline)
            (size,) = struct.unpack(">Q", self.stream.buffer[2:10])
        self.stream.fill(head + size, deadline)
        return bool(first & 0x80), first & 0x0F, self.stream.take(head + size)[head:]

    def close(self):
        self.stream.close()


def _masked(opcode, body, final=True):
    first = opcode | (0x80 if final else 0)
    if len(body) < 126:
        head = struct.pack(">BB", first, 0x80 | len(body))
    elif len(body) < 65536:
        head = struct.pack(">BBH", first, 0x80 | 126, len(body))
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, len(body))
    mask = os.urandom(4)
    repeated = (mask * (len(body) // 4 + 1))[: len(body)]
    number = int.from_bytes(body, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + number.to_bytes(len(body), "big")
