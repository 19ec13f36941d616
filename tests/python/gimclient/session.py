"""One connection of one device: sends packets, matches replies, and sets pushes aside."""

import itertools
from collections import deque

from . import messages as m
from .deadline import within
from .link import Closed, Timeout

# gim's own test clients use nanoseconds since the epoch, which a double cannot represent exactly.
_request_ids = itertools.count(1_700_000_000_000_000_001)


class Session:
    """Exchanges packets over a TcpLink or a WsLink."""

    def __init__(self, link):
        self.link = link
        self.largest_body = 0
        self._waiting_pushes = deque()

    # packets

    @staticmethod
    def packet(package_type, data=b"", request_id=0):
        return m.CODEC.encode("Input", type=package_type, request_id=request_id, data=data)

    def post(self, package_type, data=b"", request_id=None):
        """Sends a packet and returns its request id without waiting."""
        request_id = next(_request_ids) if request_id is None else request_id
        self.link.send(self.packet(package_type, data, request_id))
        return request_id

    def next_packet(self, timeout=None):
        """Returns the next Output of any type."""
        body = self.link.receive(timeout)
        self.largest_body = max(self.largest_body, len(body))
        return m.CODEC.decode("Output", body)

    def next_reply(self, timeout=None):
        """Returns the next Output that is not a push; pushes before it are kept for expect_push."""
        deadline = within(timeout)
        while True:
            output = self.next_packet(deadline)
            if output.type != m.MESSAGE:
                return output
            self._waiting_pushes.append(output)

    def request(self, package_type, data=b"", request_id=None, timeout=None):
        """Sends a packet and waits for the reply that echoes its request id."""
        request_id = self.post(package_type, data, request_id)
        deadline = within(timeout)
        while True:
            reply = self.next_reply(deadline)
            if reply.request_id == request_id:
                return reply

    # the five request types

    def sign_in(self, device, token=None):
        """Sends SIGN_IN and returns its Output."""
        data = m.CODEC.encode("SignInInput", device_id=device.device_id, user_id=device.user_id,
                              token=device.token if token is None else token)
        return self.request(m.SIGN_IN, data)

    def sync_reply(self, seq):
        return self.request(m.SYNC, m.CODEC.encode("SyncInput", seq=seq))

    def sync(self, seq=0):
        """Returns one page."""
        reply = self.sync_reply(seq)
        assert (reply.type, reply.code) == (m.SYNC, 0), reply
        return m.CODEC.decode("SyncOutput", reply.data)

    def sync_all(self, seq=0):
        """Returns the messages of all pages above seq."""
        found = []
        while True:
            page = self.sync(seq)
            found += page.messages
            if not page.has_more:
                return found
            assert page.messages and page.messages[-1].seq > seq, "has_more without progress"
            seq = page.messages[-1].seq

    def heartbeat(self, timeout=None):
        reply = self.request(m.HEARTBEAT, timeout=timeout)
        assert (reply.type, reply.code) == (m.HEARTBEAT, 0), reply
        return reply

    def subscribe(self, room_id, seq=0):
        data = m.CODEC.encode("SubscribeRoomInput", room_id=room_id, seq=seq)
        reply = self.request(m.SUBSCRIBE_ROOM, data)
        assert (reply.type, reply.code) == (m.SUBSCRIBE_ROOM, 0), reply
        return reply

    def ack(self, seq, request_id=0):
        """Acks a seq. The protocol has no answer to an ack."""
        self.post(m.MESSAGE, m.CODEC.encode("MessageACK", device_ack=seq, receive_time=1),
                  request_id)

    # pushes

    def expect_push_packet(self, timeout=None):
        """Returns the next push as a whole Output."""
        if self._waiting_pushes:
            return self._waiting_pushes.popleft()
        output = self.next_packet(timeout)
        assert output.type == m.MESSAGE, "expected a push, got %r" % output
        assert (output.code, output.message) == (0, ""), output
        return output

    def expect_push(self, timeout=None):
        """Returns the next pushed Message."""
        output = self.expect_push_packet(timeout)
        message = m.CODEC.decode("MessageSend", output.data).message
        assert message is not None, "a push without a message"
        return message

    def expect_words(self, words, timeout=None):
        """Checks that the next push is this text, with no other push before it."""
        message = self.expect_push(timeout)
        assert message.message_type == m.TEXT, "expected %r, got %r" % (words, message)
        assert m.words_of(message) == words, (m.words_of(message), words)
        return message

    def expect_command(self, code, timeout=None):
        """Checks that the next push is this system command; returns (message, payload)."""
        message = self.expect_push(timeout)
        assert message.message_type == m.COMMAND, message
        assert message.sender.sender_type == m.SYSTEM, message
        assert message.sender.sender_id == 0, message
        found, payload = m.command_of(message)
        assert found == code, (found, code)
        return message, payload

    def expect_close(self, timeout=None):
        """Reads until the server closes; returns the packets received before."""
        deadline, seen = within(timeout), []
        try:
            while True:
                seen.append(self.next_packet(deadline))
        except Closed:
            return seen

    def arrived(self, seconds=0.0):
        """Returns the packets that are buffered or arrive within `seconds`."""
        seen = list(self._waiting_pushes)
        self._waiting_pushes.clear()
        deadline = within(seconds)
        try:
            while True:
                seen.append(self.next_packet(deadline))
        except Timeout:
            return seen

    def close(self):
        self.link.close()
