#!/usr/bin/env python3
"""Sends push notifications from a real gimlet to fakes of APNs, FCM and a browser's push service.

    tests/push/run.py --binary target/debug/gimlet

The fakes check signatures, claims, headers and limits by libraries of their own, and decrypt what browsers
get. Needs the packages of tests/push/requirements.txt.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import Server  # noqa: E402
from https_server import TestAuthority  # noqa: E402
from services import (  # noqa: E402
    FOREVER, FakeApns, FakeBrowser, FakeBrowserService, FakeGoogle, private_pem)

KEY = "0123456789abcdef0123456789abcdef"
UNAVAILABLE = 503, [], b"maintenance"


class ApiUser:
    # Messages of all users; each is an event of each push service.
    sends = 0

    def __init__(self, server, phone):
        self.server = server
        status, signed_in = call(server, "POST", "/v1/sign-in", {"phone_number": phone, "code": "000000"})
        assert status == 200, signed_in
        self.token, self.user = signed_in["token"], signed_in["user_id"]
        self.device = signed_in["device_id"]

    def call(self, method, path, body=None):
        return call(self.server, method, path, body, self.token)

    def register(self, **address):
        status, answer = self.call("PUT", "/v1/devices/%s/push" % self.device, address)
        assert status == 204, answer

    def send(self, to, content):
        if isinstance(content, str):
            content = {"type": "text", "text": content}
        status, answer = self.call("POST", "/v1/messages", {"to_user": to.user, "content": content})
        assert status == 200, answer
        ApiUser.sends += 1


def call(server, method, path, body=None, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = "Bearer " + token
    data = None if body is None else json.dumps(body).encode()
    url = "http://%s:%d%s" % (*server.http_address, path)
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


class PushFixture:
    """The fakes, and a server that uses them."""

    def __init__(self, binary, folder):
        authority = TestAuthority(folder)
        self.apns, self.google = FakeApns(authority), FakeGoogle(authority)
        self.web = FakeBrowserService(authority)
        files = {name: folder / name for name in ("apns.p8", "fcm.json", "vapid.pem")}
        files["apns.p8"].write_text(private_pem(self.apns.key))
        files["fcm.json"].write_text(json.dumps(self.google.service_account()))
        made = subprocess.run([binary, "push", "keys"], check=True, capture_output=True, text=True)
        files["vapid.pem"].write_text(made.stdout)
        self.server = Server(
            binary, GIMLET_HTTP__API_KEYS=KEY, GIMLET_OUTBOUND__ALLOW="127.0.0.0/8",
            GIMLET_OUTBOUND__CA=str(authority.ca_file), GIMLET_PUSH__SHOW_CONTENT="true",
            GIMLET_PUSH__APNS__KEY=str(files["apns.p8"]), GIMLET_PUSH__APNS__KEY_ID=FakeApns.KEY_ID,
            GIMLET_PUSH__APNS__TEAM_ID=FakeApns.TEAM_ID, GIMLET_PUSH__APNS__TOPICS=",".join(FakeApns.TOPICS),
            GIMLET_PUSH__APNS__URL=self.apns.origin, GIMLET_PUSH__APNS__SANDBOX_URL=self.apns.origin + "/",
            GIMLET_PUSH__FCM__SERVICE_ACCOUNT=str(files["fcm.json"]), GIMLET_PUSH__FCM__URL=self.google.origin,
            GIMLET_PUSH__WEBPUSH__KEY=str(files["vapid.pem"]),
            GIMLET_PUSH__WEBPUSH__CONTACT="mailto:ops@example.com", GIMLET_PUSH__WEBPUSH__HOSTS="localhost")
        self.server.start()
        status, answer = call(self.server, "GET", "/v1/push/webpush-key")
        assert status == 200, answer
        self.web.server_key = answer["public_key"]
        assert answer["public_key"] in made.stdout
        self.users = 0
        self.alice = self.user()

    def user(self):
        self.users += 1
        return ApiUser(self.server, "138%08d" % self.users)

    def apns_user(self, token, topic="com.example.chat", **more):
        user = self.user()
        self.apns.devices[token] = topic
        user.register(provider="apns", token=token, **more)
        return user

    def fcm_user(self, token, **more):
        user = self.user()
        self.google.devices.add(token)
        user.register(provider="fcm", token=token, **more)
        return user

    def browser_user(self, name, **more):
        user = self.user()
        user.register(**FakeBrowser(self.web, name).registration(), **more)
        return user

    def metric(self, name, provider):
        return self.labelled(name, "provider", provider)

    def delivered(self, hook):
        return self.labelled("gimlet_webhook_delivered_total", "webhook", hook)

    def labelled(self, name, label, value):
        _, text = Server.get(self.server.ops_address, "/metrics")
        line = '%s{%s="%s"} ' % (name, label, value)
        found = [each for each in text.decode().splitlines() if each.startswith(line)]
        return int(found[0].removeprefix(line)) if found else 0


def content_is_hidden_by_default(push):
    """Each service gets a notification that tells neither name nor text."""
    users = push.apns_user("aa01"), push.fcm_user("fcm-1"), push.browser_user("one")
    for user in users:
        push.alice.send(user, "a secret text")
    ((_, apns, _),) = push.apns.wait(bool)
    ((_, fcm),) = push.google.wait(bool)
    ((_, web, _, size),) = push.web.wait(bool)
    for shown in (apns, fcm, web):
        assert "secret" not in json.dumps(shown), shown
    assert apns["aps"]["alert"] == {"title": "New message"}, apns
    assert apns["gimlet"] == {"type": "message"}, apns
    assert fcm["notification"] == {"title": "New message"}, fcm
    assert web["title"] == "New message" and "body" not in web, web
    assert web["conversation"] == "user:" + push.alice.user, web
    assert size == 86 + 256 + 16, size


def content_is_shown_where_the_client_wants_it(push):
    """Name, text, conversation, in the language of the device; a long text is cut."""
    push.alice.call("PATCH", "/v1/me", {"nickname": "Alice"})
    shown = {"show_content": True, "locale": "zh-CN"}
    users = push.apns_user("aa02", **shown), push.fcm_user("fcm-2", **shown), push.browser_user("two", **shown)
    for user in users:
        push.alice.send(user, {"type": "image", "url": "https://example.com/a.png"})
    for user in users:
        push.alice.send(user, "字\u0001\"" * 4_000)
    apns = push.apns.wait(lambda sent: len(sent) == 2)
    fcm = push.google.wait(lambda sent: len(sent) == 2)
    web = push.web.wait(lambda sent: len(sent) == 2)
    assert [each[1]["notification"]["body"] for each in fcm][0] == "[图片]", fcm
    assert apns[0][1]["aps"]["alert"]["body"] == "[图片]" and web[0][1]["body"] == "[图片]"
    assert len(web[1][1]["body"]) == 301, web
    # The second notification replaces the first one.
    assert apns[0][2] == apns[1][2] and web[0][2] == web[1][2]
    assert apns[0][1]["gimlet"]["conversation"] == "user:" + push.alice.user, apns


def a_connected_user_is_not_notified(push):
    """While a device of the user is connected nothing is sent; afterwards it is."""
    user = push.fcm_user("fcm-3", show_content=True)
    url = "http://%s:%d/v1/inbox/events" % push.server.http_address
    request = urllib.request.Request(url, headers={"authorization": "Bearer " + user.token})
    with urllib.request.urlopen(request, timeout=30) as stream:
        wait_until(lambda: connections(push, user))
        push.alice.send(user, "while connected")
        while b"while connected" not in stream.readline():
            pass
        # The connection counts when the event is handled.
        wait_until(lambda: push.delivered("push-fcm") == ApiUser.sends)
    wait_until(lambda: not connections(push, user))
    push.alice.send(user, "while away")
    sent = push.google.wait(bool)
    assert [message["notification"]["body"] for _, message in sent] == ["while away"], sent


def connections(push, user):
    status, answer = call(push.server, "GET", "/v1/users/%s/connections" % user.user, token=KEY)
    assert status == 200, answer
    return answer["connections"]


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within %d s" % seconds
        time.sleep(0.05)


def addresses_that_are_gone_are_removed(push):
    """The service's answer ends the registration, so the next message causes no request."""
    gone = push.apns_user("aa04"), push.apns_user("aa05"), push.fcm_user("fcm-4"), push.browser_user("four")
    push.apns.unregistered["aa04"] = int(time.time() * 1_000) + 1_000
    del push.apns.devices["aa05"], push.web.browsers["/push/four"]
    push.google.devices.discard("fcm-4")
    removed = "gimlet_push_removed_total"
    before = {provider: push.metric(removed, provider) for provider in ("apns", "fcm", "webpush")}
    for user in gone:
        push.alice.send(user, "hi")
    for provider, count in (("apns", 2), ("fcm", 1), ("webpush", 1)):
        wait_until(lambda: push.metric(removed, provider) == before[provider] + count)
    # Registered again, the same token is notified again.
    push.google.devices.add("fcm-4")
    gone[2].register(provider="fcm", token="fcm-4")
    requests = push.apns.requests, push.web.requests
    for user in gone:
        push.alice.send(user, "again")
    other = push.apns_user("aa06"), push.browser_user("six")
    for user in other:
        push.alice.send(user, "later")
    push.apns.wait(bool)
    push.web.wait(bool)
    push.google.wait(bool)
    assert (push.apns.requests, push.web.requests) == (requests[0] + 1, requests[1] + 1)


def a_service_that_fails_gets_everything_later_and_delays_no_other(push):
    """FCM is down; APNs goes on; FCM then gets its notifications, each once."""
    apns, fcm = push.apns_user("aa07"), [push.fcm_user("fcm-7%d" % at, show_content=True) for at in range(3)]
    down = None, (FOREVER, UNAVAILABLE)
    push.google.answers.append(down)
    count = push.google.requests
    for user in fcm:
        push.alice.send(user, "while down")
    push.google.wait_requests(count + 2)
    push.alice.send(apns, "meanwhile")
    push.apns.wait(bool)
    assert not push.google.sent
    push.google.answers.remove(down)
    sent = push.google.wait(lambda sent: len(sent) >= 3, seconds=60)
    assert sorted(device for device, _ in sent) == ["fcm-70", "fcm-71", "fcm-72"], sent
    assert push.metric("gimlet_push_failed_total", "fcm") >= 2


def a_browser_that_fails_delays_no_other_conversation(push):
    """The failing device is tried again, and the other one is notified once."""
    slow, quick = push.browser_user("slow", show_content=True), push.browser_user("quick", show_content=True)
    push.web.answers.append(("/push/slow", (400, [], b"")))
    push.alice.send(slow, "rejected")
    wait_until(lambda: push.metric("gimlet_push_rejected_total", "webpush") == 1)
    push.alice.send(slow, "one")
    push.alice.send(quick, "two")
    sent = push.web.wait(lambda sent: len(sent) == 2)
    assert sorted(each[1]["body"] for each in sent) == ["one", "two"], sent


def tokens_are_kept_and_renewed(push):
    """One access token and one provider token serve all sends; a withdrawn one is replaced."""
    user = push.fcm_user("fcm-8")
    issued = len(push.google.access_tokens)
    assert issued == 1 and len(push.apns.tokens) == 1, (issued, push.apns.tokens)
    push.google.access_tokens.append("another, so the server's is refused")
    push.alice.send(user, "hi")
    push.google.wait(bool)
    assert len(push.google.access_tokens) == 3


def notifications_survive_a_kill(push):
    """A notification that waits for its service is sent by the next process."""
    user = push.apns_user("aa09", show_content=True)
    down = None, (FOREVER, UNAVAILABLE)
    push.apns.answers.append(down)
    count = push.apns.requests
    push.alice.send(user, "before the kill")
    push.apns.wait_requests(count + 1)
    push.server.kill()
    push.apns.answers.remove(down)
    push.server.start()
    sent = push.apns.wait(bool, seconds=60)
    assert sent[0][1]["aps"]["alert"]["body"] == "before the kill", sent


def a_test_by_the_operator_checks_the_credentials(push):
    """The hooks of the push services are listed and tested as webhooks are."""
    names = "push-apns", "push-fcm", "push-webpush"
    status, listed = call(push.server, "GET", "/v1/webhooks", token=KEY)
    assert status == 200 and [each["name"] for each in listed["webhooks"]] == list(names), listed
    for name in names:
        status, tested = call(push.server, "POST", "/v1/webhooks/%s/test" % name, token=KEY)
        assert status == 200 and tested["delivered"], tested


def each_sleeping_member_of_a_group_is_notified_once(push):
    """One message to a group of 300 is one notification of each member's device, over few connections."""
    members = {"cc%04d" % at: push.apns_user("cc%04d" % at) for at in range(300)}
    body = {"name": "all", "member_ids": [member.user for member in members.values()]}
    status, group = push.alice.call("POST", "/v1/groups", body)
    assert status == 200, group
    connections = push.apns.server.connections
    started = time.monotonic()
    content = {"type": "text", "text": "to all"}
    status, answer = push.alice.call("POST", "/v1/messages", {"to_group": group["group_id"], "content": content})
    assert status == 200, answer
    ApiUser.sends += 1
    sent = push.apns.wait(lambda sent: len(sent) >= len(members))
    print("   %d notifications in %.2f s" % (len(sent), time.monotonic() - started))
    wait_until(lambda: push.delivered("push-apns") == ApiUser.sends)
    sent = list(push.apns.sent)
    assert sorted(token for token, _, _ in sent) == sorted(members), len(sent)
    assert len({collapse for _, _, collapse in sent}) == len(members)
    assert push.apns.server.connections - connections <= 2


def wrong_addresses_are_refused(push):
    """Hosts that are no push services, and topics of other apps."""
    user = push.user()
    browser = FakeBrowser(push.web, "ten").registration()
    for change, words in (
            ({"endpoint": "https://127.0.0.1/push/ten"}, "push.webpush.hosts"),
            ({"endpoint": "https://evil.example.org\\.localhost/"}, "characters")):
        path = "/v1/devices/%s/push" % user.device
        status, answer = user.call("PUT", path, dict(browser, **change))
        assert status == 400 and words in json.dumps(answer), (status, answer)


CASES = (
    content_is_hidden_by_default,
    content_is_shown_where_the_client_wants_it,
    a_connected_user_is_not_notified,
    addresses_that_are_gone_are_removed,
    tokens_are_kept_and_renewed,
    a_service_that_fails_gets_everything_later_and_delays_no_other,
    a_browser_that_fails_delays_no_other_conversation,
    each_sleeping_member_of_a_group_is_notified_once,
    a_test_by_the_operator_checks_the_credentials,
    wrong_addresses_are_refused,
    notifications_survive_a_kill,
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = str(pathlib.Path(parser.parse_args().binary).resolve())
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gimlet-push-") as folder:
        push = PushFixture(binary, pathlib.Path(folder))
        try:
            for case in CASES:
                for service in (push.apns, push.google, push.web):
                    service.clear()
                case(push)
                mistakes = push.apns.mistakes + push.google.mistakes + push.web.mistakes
                assert not mistakes, mistakes
                print("ok", case.__name__.replace("_", " "), flush=True)
            push.server.stop()
        except BaseException:
            print(push.server.log_tail(), file=sys.stderr)
            raise
        finally:
            push.server.remove()
    print("%d passed in %.0f s" % (len(CASES), time.monotonic() - started))


if __name__ == "__main__":
    main()
