"""JSON over WebSocket, by a client that shares no code with the server."""

import contextlib
import json

from gimclient.cases import case
from gimclient.fixture import assert_equal
from gimclient.link import Closed
from gimclient.ws import NotUpgraded, WsLink

PROTOCOL = "gimlet.json.v1"


class JsonSession:
    """A connection whose packets are JSON texts. Packets that come before an answer are kept."""

    def __init__(self, server, device=None, address=None):
        self.link = WsLink(address or server.ws_address, protocol=PROTOCOL)
        self.waiting, self.last_id = [], 0
        if device is not None:
            token = "%d.%d.%s" % (device.user_id, device.device_id, device.token)
            self.ok("sign_in", token=token)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()

    def write(self, packet):
        self.link.send(json.dumps(packet, ensure_ascii=False).encode("utf-8"))

    def read(self):
        return json.loads(self.link.receive().decode("utf-8"))

    def ask(self, kind, **fields):
        """Sends a packet and returns its answer."""
        self.last_id += 1
        self.write(dict(fields, type=kind, request_id=self.last_id))
        while True:
            packet = self.read()
            if packet.get("request_id") == self.last_id:
                assert packet["type"] in (kind, "error"), packet
                return packet
            self.waiting.append(packet)

    def ok(self, kind, **fields):
        answer = self.ask(kind, **fields)
        assert "error" not in answer, answer
        return answer

    def refused(self, kind, **fields):
        return self.ask(kind, **fields)["error"]

    def send(self, receiver, text, **fields):
        return self.ok("send", to_user=str(receiver.user_id), content={"type": "text", "text": text},
                       **fields)

    def next(self, kind):
        """Returns the next packet that the server sends by itself."""
        packet = self.waiting.pop(0) if self.waiting else self.read()
        assert_equal(packet["type"], kind)
        return packet

    def entry(self):
        packet = self.next("message")
        return int(packet["seq"]), packet["message"]["content"]["text"]

    def sync(self, after=0):
        """Reads the inbox after a seq, page by page; returns seqs and texts."""
        entries, more = [], True
        while more:
            page = self.ok("sync", after=str(after))
            more = page["more"]
            for entry in page["entries"]:
                after = int(entry["seq"])
                entries.append((after, entry["message"]["content"]["text"]))
        return entries


@contextlib.contextmanager
def live(fixture, *devices):
    """Connects devices that have read their inboxes."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(JsonSession(fixture.server, it)) for it in devices]
        for session in sessions:
            session.sync()
        yield sessions


@case
def two_clients_of_json_and_one_of_protobuf_talk(fixture):
    alice, bob, carol = fixture.users(3)
    session = fixture.online(carol, "tcp")
    with live(fixture, alice, bob) as (a, b):
        sent = a.send(bob, "\u4f60\u597d \U0001f600")
        assert_equal((sent["seq"], sent["repeated"]), ("1", False))
        assert_equal(b.entry(), (1, "\u4f60\u597d \U0001f600"))
        a.send(carol, "to protobuf")
        session.expect_words("to protobuf")
        carol.send(alice, "from protobuf")
        assert_equal(a.entry(), (3, "from protobuf"))
        assert_equal([text for _, text in a.sync()],
                     ["\u4f60\u597d \U0001f600", "to protobuf", "from protobuf"])


@case
def a_repeat_stores_nothing_more_and_other_content_is_a_conflict(fixture):
    alice, bob = fixture.users(2)
    with live(fixture, alice) as (a,):
        first = a.send(bob, "once", client_message_id="k")
        again = a.send(bob, "once", client_message_id="k")
        assert_equal((again["seq"], again["message_id"]), (first["seq"], first["message_id"]))
        assert_equal((first["repeated"], again["repeated"]), (False, True))
        error = a.refused("send", to_user=str(bob.user_id), client_message_id="k",
                          content={"type": "text", "text": "other"})
        assert_equal(error["code"], 6)


@case
def a_long_inbox_comes_in_pages_that_a_client_can_hold(fixture):
    alice, bob = fixture.users(2)
    text = '"' * 20_000  # twice as long in JSON
    for n in range(12):
        alice.send(bob, "%d %s" % (n, text))
    with JsonSession(fixture.server, bob) as session:
        pages, after = 0, 0
        while True:
            page = session.ok("sync", after=str(after))
            pages += 1
            for entry in page["entries"]:
                after += 1
                assert_equal(int(entry["seq"]), after)
            if not page["more"]:
                break
        assert_equal(after, 12)
        assert pages > 1, pages


@case
def a_room_is_followed_and_left(fixture):
    alice, bob = fixture.users(2)
    with live(fixture, bob) as (session,):
        room = str(alice.user_id * 1000 + 7)
        session.ok("subscribe_room", room_id=room)
        alice.push_room(int(room), "to the room")
        packet = session.next("room")
        assert_equal(packet["room_id"], room)
        assert_equal(packet["message"]["content"]["text"], "to the room")
        session.ok("subscribe_room")
        alice.push_room(int(room), "to nobody")
        alice.send(bob, "to bob")
        assert_equal(session.entry(), (1, "to bob"))


@case
def a_newer_connection_of_the_device_displaces_the_older(fixture):
    alice = fixture.user()
    with live(fixture, alice) as (older,):
        with JsonSession(fixture.server, alice) as newer:
            close = older.next("close")
            assert_equal((close["code"], close["come_back"]), (4300, "never"))
            newer.ok("heartbeat")


@case
def a_client_goes_on_after_a_kill(fixture):
    alice, bob = fixture.users(2)
    with live(fixture, bob) as (session,):
        alice.send(bob, "seen")
        assert_equal(session.entry(), (1, "seen"))
    alice.send(bob, "not seen")
    fixture.server.kill()
    fixture.server.start()
    with JsonSession(fixture.server, bob) as session:
        assert_equal(session.sync(1), [(2, "not seen")])
        alice.send(bob, "after")
        assert_equal(session.entry(), (3, "after"))


@case
def a_wrong_packet_is_refused_with_its_request_id(fixture):
    alice = fixture.user()
    with live(fixture, alice) as (session,):
        for kind, fields, words in [
            ("sned", {}, "it must be one of sign_in"),
            ("send", {"to_usr": "1"}, "did you mean to_user?"),
            ("send", {"to_user": 2**53, "content": {}}, "send it as a string"),
            ("sync", {"after": True}, "it must be a seq"),
            ("ack", {"seq": "-1"}, "it must be a seq"),
        ]:
            error = session.refused(kind, **fields)
            assert_equal(error["code"], 10001)
            assert words in error["detail"], error
        session.ok("heartbeat")


@case
def three_texts_that_are_not_packets_close(fixture):
    alice = fixture.user()
    with live(fixture, alice) as (session,):
        for text in (b"hello", b"[1]", b'{"type":"sync","after":1,"after":2}'):
            session.link.send(text)
            assert_equal(session.next("error")["error"]["code"], 10001)
        close = session.next("close")
        assert_equal((close["code"], close["come_back"]), (4302, "never"))
        try:
            session.read()
        except Closed:
            return
        raise AssertionError("the connection is open")


@case
def the_http_port_has_the_same_web_socket(fixture):
    alice, bob = fixture.users(2)
    with JsonSession(fixture.server, bob, fixture.server.http_address) as session:
        session.sync()
        alice.send(bob, "over the HTTP port")
        assert_equal(session.entry(), (1, "over the HTTP port"))
        fixture.server.stop()
        close = session.next("close")
        assert_equal((close["code"], close["come_back"]), (4000, "now"))
    fixture.server.start()
    link = WsLink(fixture.server.http_address, protocol="gimlet.v1")
    link.close()
    for path, origin in (("/ws", "https://evil.example.com"), ("/wss", None)):
        try:
            WsLink(fixture.server.http_address, path, origin)
        except NotUpgraded:
            continue
        raise AssertionError("%s was upgraded for %s" % (path, origin))
