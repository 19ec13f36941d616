"""gRPC edge cases: cancelled calls, unread answers, and services of other listeners."""

import socket

import h2.config
import h2.connection
import h2.events
import h2.settings
from gimclient import messages as m
from gimclient.cases import case
from gimclient.fixture import assert_equal

RESOURCE_EXHAUSTED = 8


class RawCalls:
    """One HTTP/2 connection on which a case controls every send and read."""

    def __init__(self, address, window=None):
        self.socket = socket.create_connection(address, 10)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        if window is not None:
            # Applies from the first byte on, not only after the server has acknowledged it.
            self._h2.local_settings = h2.settings.Settings(client=True, initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._authority = "%s:%d" % address
        self._h2.initiate_connection()
        self.flush()
        self.codes, self.bodies = {}, {}

    def start(self, path, metadata=(), body=b""):
        """Prepares a call without sending it and returns its stream."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":path", path),
            (":authority", self._authority), ("te", "trailers"),
            ("content-type", "application/grpc")] + list(metadata))
        self._h2.send_data(stream, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=True)
        return stream

    def cancel(self, stream):
        self._h2.reset_stream(stream, error_code=8)

    def open_window(self, stream, size):
        self._h2.increment_flow_control_window(size, stream)
        self._h2.increment_flow_control_window(size)
        self.flush()

    def flush(self):
        self.socket.sendall(self._h2.data_to_send())

    def read_until(self, done):
        """Reads until `done()`; fills `codes` and `bodies`, by stream."""
        while not done():
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            for event in self._h2.receive_data(data):
                assert not isinstance(event, h2.events.ConnectionTerminated), event
                self._take(event)
            self.flush()

    def _take(self, event):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            for name, value in event.headers:
                if name == "grpc-status":
                    self.codes[event.stream_id] = int(value)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def close(self):
        self.socket.close()


@case
def a17_cancelled_calls_do_not_end_a_connection_that_others_share(fixture):
    user = fixture.user()
    calls = fixture.keep(RawCalls(fixture.server.logic.address))
    path = m.METHODS["LogicExt.GetGroups"][0]
    for _ in range(5):
        for _ in range(100):
            calls.cancel(calls.start(path, user.metadata()))
        calls.flush()
        last = calls.start(path, user.metadata())
        calls.flush()
        calls.read_until(lambda last=last: last in calls.codes)
        assert_equal(calls.codes[last], 0)


@case
def a3_too_many_unread_answers_are_refused_until_they_are_read(fixture):
    user = fixture.user()
    extra, introduction = "e" * 1_000, "i" * 1_000
    for n in range(60):
        user.call("LogicExt.CreateGroup", name="group %d" % n, introduction=introduction,
                  extra=extra)
    calls = fixture.keep(RawCalls(fixture.server.logic.address, window=0))
    path = m.METHODS["LogicExt.GetGroups"][0]
    asked = [calls.start(path, user.metadata()) for _ in range(200)]
    calls.flush()
    # Each answer has about 120 KB, so 16 MiB hold 130. Refusals have no body and arrive at once.
    refused = lambda: [each for each in asked if calls.codes.get(each) == RESOURCE_EXHAUSTED]
    calls.read_until(lambda: len(refused()) >= 40)
    assert_equal(set(calls.codes.values()), {RESOURCE_EXHAUSTED})
    waiting = [each for each in asked if each not in calls.codes]
    for each in waiting:
        calls.open_window(each, 1 << 20)
    calls.read_until(lambda: len(calls.codes) == len(asked))
    served = [each for each in asked if calls.codes[each] == 0]
    assert len(served) >= 100, len(served)
    answer = m.CODEC.decode("GetGroupsResp", calls.bodies[served[0]][5:])
    assert_equal(len(answer.groups), 60)


def listed(address):
    """Returns the services that reflection lists: ServerReflectionRequest{list_services=7}."""
    calls = RawCalls(address)
    try:
        stream = calls.start("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                             body=b"\x3a\x01*")
        calls.flush()
        calls.read_until(lambda: stream in calls.codes)
        body = calls.bodies[stream][5:]
    finally:
        calls.close()
    names = [b"pb.LogicExt", b"pb.BusinessExt", b"pb.UserExt", b"pb.LogicInt", b"pb.ConnectInt",
             b"pb.BusinessInt", b"pb.UserInt", b"grpc.health.v1.Health",
             b"gimlet.node.v1.LogicNode", b"gimlet.node.v1.ConnectNode"]
    return {name.decode() for name in names if b"\n" + bytes([len(name)]) + name in body}


@case
def nb7_reflection_lists_what_its_listener_serves(fixture):
    clients = {"pb.LogicExt", "pb.BusinessExt", "pb.UserExt", "grpc.health.v1.Health"}
    for channel in (fixture.server.logic, fixture.server.business):
        assert_equal(listed(channel.address), clients)
    assert_equal(listed(fixture.server.internal.address), {
        "pb.LogicInt", "pb.ConnectInt", "pb.BusinessInt", "pb.UserInt", "grpc.health.v1.Health",
        "gimlet.node.v1.LogicNode", "gimlet.node.v1.ConnectNode"})


@case
def nb7_an_unserved_call_names_the_listener_that_serves_it(fixture):
    path = m.METHODS["LogicInt.PushAll"][0]
    code, message, _ = fixture.server.logic.call(path, b"", ())
    assert_equal(code, m.UNIMPLEMENTED)
    assert "listen.internal" in message and "logic" in message, message
    code, message, _ = fixture.server.logic.call("/im.Chat/Send", b"", ())
    assert_equal(code, m.UNIMPLEMENTED)
    assert "pb.LogicExt" in message, message
