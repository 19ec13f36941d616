"""Requirements of gim's own clients and fim, in bytes and in timing."""

import select
import socket
import struct
import threading

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.deadline import Deadline
from gimclient.slow_link import SlowLink
from gimclient.tcp import frame
from gimclient.fixture import assert_equal

# The ack that gim's Go clients send: Input{type=4, request_id=7, data=MessageACK{2: 5, 3: 1}}.
ACK = bytes.fromhex("080410071a0410051801")
HEARTBEAT = bytes.fromhex("08031009")
HEARTBEAT_ANSWER = bytes.fromhex("08031009")


def only_the_heartbeat_is_answered(session, acks, refused):
    """Sends acks and then a heartbeat; the next packet must be the heartbeat's answer."""
    session.link.send_together(acks + [HEARTBEAT])
    answer = session.link.receive()
    if refused:
        output = m.CODEC.decode("Output", answer)
        assert_equal((output.type, output.request_id, output.code), (m.HEARTBEAT, 9, 10000))
    else:
        assert_equal(answer, HEARTBEAT_ANSWER)


@on_both_wires
def g1_an_ack_is_never_answered_whatever_the_state(fixture):
    """gim's clients take any answer of type 4 for a push, and crash on one without a message."""
    assert_equal(m.CODEC.decode("Input", ACK).type, m.MESSAGE)
    user = fixture.user()
    # With its request id, without one, and with undecodable data.
    acks = [ACK, bytes.fromhex("08041a0410051801"), bytes.fromhex("0804"),
            bytes.fromhex("080410071a02ffff")]
    session = fixture.open(user)
    only_the_heartbeat_is_answered(session, acks, refused=True)
    assert_equal(session.sign_in(user, token="wrong").code, m.UNAUTHORIZED)
    only_the_heartbeat_is_answered(session, acks, refused=True)
    assert_equal(session.sign_in(user).code, 0)
    only_the_heartbeat_is_answered(session, acks, refused=False)
    session.sync_all()
    only_the_heartbeat_is_answered(session, acks, refused=False)
    # From here on, a newer connection of the device is served.
    fixture.online(user)
    only_the_heartbeat_is_answered(session, acks, refused=False)


@case
def g2_an_ack_and_the_next_sync_in_one_write_bring_the_next_page(fixture):
    """Holds also while the server writes acks; closing a connection makes it write them at once."""
    alice, bob = fixture.users(2)
    count = 60
    for n in range(count):
        alice.send(bob, "message %d %s" % (n, "x" * 200))
    session = fixture.signed_in(bob, "tcp")
    page, seen = session.sync(0), []
    while True:
        seen += [each.seq for each in page.messages]
        if not page.has_more:
            break
        fixture.online(alice, "tcp").close()
        ack = m.CODEC.encode("MessageACK", device_ack=seen[-1], receive_time=1)
        asks = m.CODEC.encode("SyncInput", seq=seen[-1])
        session.link.send_together([session.packet(m.MESSAGE, ack, 0),
                                    session.packet(m.SYNC, asks, 3)])
        page = m.CODEC.decode("SyncOutput", session.next_reply().data)
    assert_equal(seen, list(range(1, count + 1)))


class OneFramePerRead:
    """Reads as fim does: it parses one frame per read and drops the rest."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, package_type, data, request_id=0):
        body = m.CODEC.encode("Input", type=package_type, request_id=request_id, data=data)
        self.socket.sendall(frame(body))

    def read(self, deadline):
        """Returns the frame of the next read, or None if none arrives in time."""
        if not select.select([self.socket], [], [], deadline.left())[0]:
            return None
        data = self.socket.recv(65536)
        assert data, "the server has hung up"
        self._buffer += data
        (size,) = struct.unpack(">H", self._buffer[:2])
        assert len(self._buffer) >= 2 + size, "a frame came in two reads"
        body, self._buffer = self._buffer[2:2 + size], self._buffer[2 + size:]
        return m.CODEC.decode("Output", body)

    def close(self):
        self.socket.close()


def fim(fixture, user, way):
    """Signs in and syncs as fim does; returns its reader."""
    reader = fixture.keep(OneFramePerRead(way.address))
    deadline = Deadline(10)
    reader.send(m.SIGN_IN, m.CODEC.encode("SignInInput", device_id=user.device_id,
                                          user_id=user.user_id, token=user.token))
    assert_equal(reader.read(deadline).code, 0)
    reader.send(m.SYNC, b"")
    assert_equal(reader.read(deadline).type, m.SYNC)
    return reader


@case
def g3_a_hundred_messages_over_a_slow_link_reach_a_parser_of_one_frame_per_read(fixture):
    alice, bob = fixture.users(2)
    way = fixture.keep(SlowLink(fixture.server.tcp_address, 0.040, 0.120))
    reader = fim(fixture, bob, way)
    # In a thread beside the reader, so that data is read at once, as on a phone.
    sender = threading.Thread(
        target=lambda: [alice.send(bob, "message %d" % n) for n in range(100)])
    sender.start()
    # fim sends heartbeats independently of messages in flight.
    seen, answers, deadline = [], 0, Deadline(50)
    while len(seen) < 100 or answers < 4:
        output = reader.read(deadline)
        assert output is not None, "%d messages and %d answers came" % (len(seen), answers)
        if output.type == m.HEARTBEAT:
            answers += 1
            continue
        seen.append(m.CODEC.decode("MessageSend", output.data).message.seq)
        if len(seen) in (20, 40, 60, 80):
            reader.send(m.HEARTBEAT, b"", 5)
        ack = m.CODEC.encode("MessageACK", device_ack=seen[-1], receive_time=1)
        reader.send(m.MESSAGE, ack)
    sender.join()
    assert_equal(seen, list(range(1, 101)))
