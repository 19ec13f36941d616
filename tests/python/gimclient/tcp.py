"""gim over TCP: the length in two bytes, big endian, then one packet."""

import struct

from .deadline import within
from .link import Stream


def frame(body):
    """Returns a packet with its length prefix."""
    return struct.pack(">H", len(body)) + body


class TcpLink:
    def __init__(self, address):
        self.stream = Stream(address)

    def send(self, body):
        self.stream.write(frame(body))

    def send_together(self, bodies):
        """Sends several packets in one write."""
        self.stream.write(b"".join(frame(body) for body in bodies))

    def receive(self, timeout=None):
        deadline = within(timeout)
        self.stream.fill(2, deadline)
        (size,) = struct.unpack(">H", self.stream.buffer[:2])
        self.stream.fill(2 + size, deadline)
        return self.stream.take(2 + size)[2:]

    def close(self):
        self.stream.close()
