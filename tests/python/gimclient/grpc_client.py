"""Unary gRPC over plain-text HTTP/2, with blocking sockets.

Common gRPC libraries map status codes above 16 to "unknown". The cases need gim's codes (10000 and
up) as sent, so this client reads `grpc-status` from the raw trailers.
"""

import socket
import struct
import threading
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from .deadline import within


class GrpcError(Exception):
    """The call ended without a gRPC answer: broken connection, reset, or not gRPC at all."""


class Channel:
    """One HTTP/2 connection, opened on first use and again after it broke. One call at a time."""

    def __init__(self, address):
        self.address = address
        self._lock = threading.Lock()
        self._socket = None
        self._http2 = None

    def call(self, path, payload, metadata=(), timeout=None):
        """Returns (grpc status, message, response bytes)."""
        deadline = within(timeout)
        with self._lock:
            try:
                return self._call(path, payload, metadata, deadline)
            except (OSError, h2.exceptions.ProtocolError, GrpcError) as error:
                self._drop()
                raise GrpcError("%s: %s" % (path, error or type(error).__name__)) from error

    def close(self):
        with self._lock:
            self._drop()

    def _drop(self):
        if self._socket is not None:
            self._socket.close()
        self._socket = self._http2 = None

    def _connect(self, deadline):
        self._socket = socket.create_connection(self.address, timeout=deadline.left())
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._http2 = h2.connection.H2Connection(config)
        self._http2.initiate_connection()
        self._flush(deadline)

    def _call(self, path, payload, metadata, deadline):
        if self._http2 is None:
            self._connect(deadline)
        call = _Call(self._http2.get_next_available_stream_id())
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", path),
            (":authority", "%s:%d" % self.address),
            ("content-type", "application/grpc"), ("te", "trailers"),
            ("grpc-timeout", "%dm" % max(1, int(deadline.left() * 1000))),
        ]
        self._http2.send_headers(call.stream, headers + list(metadata))
        self._send_body(call, struct.pack(">BI", 0, len(payload)) + payload, deadline)
        while not call.ended:
            self._receive(call, deadline)
        return call.answer()

    def _send_body(self, call, body, deadline):
        while not call.ended:
            room = min(self._http2.local_flow_control_window(call.stream),
                       self._http2.max_outbound_frame_size)
            if room == 0:
                self._flush(deadline)
                self._receive(call, deadline)
                continue
            piece, body = body[:room], body[room:]
            self._http2.send_data(call.stream, piece, end_stream=not body)
            if not body:
                break
        self._flush(deadline)

    def _flush(self, deadline):
        data = self._http2.data_to_send()
        if data:
            self._socket.settimeout(max(0.001, deadline.left()))
            self._socket.sendall(data)

    def _receive(self, call, deadline):
        self._flush(deadline)
        if deadline.passed():
            raise GrpcError("no answer within %.1f s" % deadline.seconds)
        self._socket.settimeout(deadline.left() or 0.001)
        data = self._socket.recv(65536)
        if not data:
            raise GrpcError("the server closed the connection")
        for event in self._http2.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                raise GrpcError("GOAWAY %s" % event.error_code)
            if getattr(event, "stream_id", None) == call.stream:
                call.take(event)
            if isinstance(event, h2.events.DataReceived):
                self._http2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
        self._flush(deadline)


class _Call:
    """The data received so far on one stream."""

    def __init__(self, stream):
        self.stream, self.ended = stream, False
        self._headers, self._body = {}, b""

    def take(self, event):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            self._headers.update(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
        elif isinstance(event, h2.events.StreamReset):
            if "grpc-status" not in self._headers:
                raise GrpcError("stream reset, code %s" % event.error_code)
            self.ended = True

    def answer(self):
        if self._headers.get(":status") != "200":
            raise GrpcError("HTTP status %s" % self._headers.get(":status"))
        if "grpc-status" not in self._headers:
            raise GrpcError("no grpc-status")
        status = int(self._headers["grpc-status"])
        message = unquote(self._headers.get("grpc-message", ""))
        if status != 0:
            return status, message, b""
        if len(self._body) < 5:
            raise GrpcError("an answer without a message")
        compressed, size = struct.unpack(">BI", self._body[:5])
        if compressed or size != len(self._body) - 5:
            raise GrpcError("a malformed message frame")
        return status, message, self._body[5:]
