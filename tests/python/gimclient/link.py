"""The base of the two socket transports: a buffered socket whose reads have deadlines."""

import select
import socket

from .deadline import within


class Closed(Exception):
    """The server closed the connection."""


class Timeout(Exception):
    """The data did not arrive in time. Data that did arrive stays buffered."""


class Stream:
    """A blocking TCP socket; data read before a deadline passes stays in its buffer."""

    def __init__(self, address, timeout=None):
        self.socket = socket.create_connection(address, timeout=within(timeout).left())
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def write(self, data):
        self.socket.settimeout(within(None).left())
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed("while writing: %s" % error) from error

    def fill(self, size, deadline):
        """Reads until the buffer holds at least `size` bytes."""
        while len(self.buffer) < size:
            ready, _, _ = select.select([self.socket], [], [], deadline.left())
            if not ready:
                raise Timeout("nothing arrived within %.1f s" % deadline.seconds)
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError as error:
                raise Closed("reset by the server") from error
            if not data:
                rest = len(self.buffer)
                raise Closed("end of stream" + (" inside a frame" if rest else ""))
            self.buffer += data

    def take(self, size):
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def close(self):
        self.socket.close()
