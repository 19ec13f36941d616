"""The HTTP/JSON API and its event stream, by Python's own HTTP client."""

import contextlib
import http.client
import json

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.fixture import assert_equal

ANSWER_SECONDS = 30


def bearer(device):
    return "%d.%d.%s" % (device.user_id, device.device_id, device.token)


def request(server, method, path, device=None, body=None, **headers):
    """Sends a request and returns (status, JSON of the body)."""
    connection = http.client.HTTPConnection(*server.http_address, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        if device is not None:
            headers["Authorization"] = "Bearer " + bearer(device)
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None


def ok(server, method, path, device=None, body=None, **headers):
    status, answer = request(server, method, path, device, body, **headers)
    assert 200 <= status < 300, (status, answer)
    return answer


def send(server, sender, receiver, text, **headers):
    body = {"to_user": str(receiver.user_id), "content": {"type": "text", "text": text}}
    return ok(server, "POST", "/v1/messages", sender, body, **headers)


class EventStream:
    """Server-sent events, parsed as the standard describes them."""

    def __init__(self, server, device, last=None, path="/v1/inbox/events"):
        self.connection = http.client.HTTPConnection(*server.http_address, timeout=ANSWER_SECONDS)
        headers = {"Authorization": "Bearer " + bearer(device)}
        if last is not None:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        assert_equal(self.answer.status, 200)
        assert_equal(self.answer.getheader("Content-Type"), "text/event-stream")
        self.last = last

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer.close()
        self.connection.close()

    def next(self):
        """Returns the name and the data of the next event; None at the end."""
        name, data = "message", []
        while True:
            line = self.answer.readline().decode("utf-8")
            if not line:
                return None
            line = line.rstrip("\n")
            if not line:
                if data:
                    return name, json.loads("\n".join(data))
                name = "message"
            elif not line.startswith(":"):
                field, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if field == "id":
                    self.last = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data.append(value)

    def named(self, wanted):
        while True:
            event = self.next()
            assert event is not None, "the stream ended before %r" % wanted
            if event[0] == wanted:
                return event[1]

    def entry(self):
        """Returns the seq and the text of the next entry."""
        data = self.named("message")
        assert_equal(self.last.split("/")[0], data["seq"])
        return int(data["seq"]), data["message"]["content"]["text"]


@on_both_wires
def messages_pass_between_http_and_a_socket(fixture):
    alice, bob = fixture.users(2)
    session = fixture.online(bob)
    sent = send(fixture.server, alice, bob, "over HTTP")
    session.expect_words("over HTTP")
    assert_equal(sent["seq"], "1")
    bob.send(alice, "over gRPC")
    inbox = ok(fixture.server, "GET", "/v1/inbox", alice)
    texts = [entry["message"]["content"]["text"] for entry in inbox["entries"]]
    assert_equal(texts, ["over HTTP", "over gRPC"])
    assert_equal(inbox["entries"][1]["message"]["sender"]["user_id"], str(bob.user_id))


@case
def a_stream_is_the_inbox_and_goes_on_where_it_ended(fixture):
    alice, bob = fixture.users(2)
    last, seen = None, []
    for turn in range(5):
        with EventStream(fixture.server, bob, last) as events:
            for n in range(4):
                send(fixture.server, alice, bob, "%d.%d" % (turn, n))
            for _ in range(turn % 3 + 1):
                seen.append(events.entry())
            last = events.last
    with EventStream(fixture.server, bob, last) as events:
        while len(seen) < 20:
            seen.append(events.entry())
    wanted = ["%d.%d" % (turn, n) for turn in range(5) for n in range(4)]
    assert_equal(seen, list(zip(range(1, 21), wanted)))


@case
def a_stream_goes_on_after_a_kill(fixture):
    alice, bob = fixture.users(2)
    with EventStream(fixture.server, bob) as events:
        send(fixture.server, alice, bob, "seen")
        assert_equal(events.entry(), (1, "seen"))
        last = events.last
    send(fixture.server, alice, bob, "not seen")
    fixture.server.kill()
    fixture.server.start()
    send(fixture.server, alice, bob, "after")
    with EventStream(fixture.server, bob, last) as events:
        assert_equal([events.entry(), events.entry()], [(2, "not seen"), (3, "after")])


@case
def a_socket_and_a_stream_of_one_device_displace_each_other(fixture):
    alice = fixture.user()
    with EventStream(fixture.server, alice) as events:
        events.named("start")
        fixture.online(alice, "tcp")
        closed = events.named("close")
        assert_equal((closed["code"], closed["reconnect"]), (4300, False))
        assert_equal(events.next(), None)


@case
def a_large_inbox_reaches_a_slow_reader(fixture):
    alice, bob = fixture.users(2)
    text = "x" * 50_000
    with EventStream(fixture.server, bob) as events:
        events.named("start")
        for _ in range(60):
            send(fixture.server, alice, bob, text)
        for seq in range(1, 61):
            assert_equal(events.entry(), (seq, text))


@case
def a_repeat_with_the_same_key_stores_nothing_more(fixture):
    alice, bob = fixture.users(2)
    first = send(fixture.server, alice, bob, "once", Idempotency_Key="k")
    again = send(fixture.server, alice, bob, "once", Idempotency_Key="k")
    assert_equal((again["seq"], again["message_id"]), (first["seq"], first["message_id"]))
    assert_equal((first["repeated"], again["repeated"]), (False, True))
    assert_equal(alice.send(bob, "next"), 2)


@case
def a_push_of_the_system_has_names(fixture):
    alice, bob = fixture.users(2)
    ok(fixture.server, "POST", "/v1/friends", alice,
       {"user_id": str(bob.user_id), "description": "it is me"})
    inbox = ok(fixture.server, "GET", "/v1/inbox", bob)
    content = inbox["entries"][0]["message"]["content"]
    assert_equal((content["type"], content["user_id"], content["description"]),
                 ("friend_requested", str(alice.user_id), "it is me"))
    assert_equal(inbox["entries"][0]["message"]["sender"]["type"], "system")


@case
def content_that_only_a_socket_can_make_is_shown_as_its_bytes(fixture):
    alice, bob = fixture.users(2)
    alice.send(bob, message_type=99, message_content=b"\xff\x00")
    inbox = ok(fixture.server, "GET", "/v1/inbox", bob)
    assert_equal(inbox["entries"][0]["message"]["content"],
                 {"type": "bytes", "kind": 99, "data": "/wA="})


@case
def a_text_over_http_is_gims_text(fixture):
    alice, bob = fixture.users(2)
    send(fixture.server, alice, bob, "plain")
    entry = fixture.signed_in(bob).sync_all()[-1].fields()
    assert_equal(entry["message_content"], m.text("plain"))


@case
def a_wrong_request_is_a_problem_with_its_field(fixture):
    alice = fixture.user()
    body = {"to_usr": "1", "content": {"type": "text", "text": "hi"}}
    status, problem = request(fixture.server, "POST", "/v1/messages", alice, body)
    assert_equal((status, problem["code"], problem["field"]), (400, m.BAD_REQUEST, "to_usr"))
    assert "to_user" in problem["detail"], problem
    status, problem = request(fixture.server, "GET", "/v1/me")
    assert_equal((status, problem["code"]), (401, m.UNAUTHORIZED))
    stolen = fixture.user()
    stolen.token = alice.token
    status, problem = request(fixture.server, "GET", "/v1/me", stolen)
    assert_equal((status, problem["code"]), (401, m.UNAUTHORIZED))
