"""Fakes of APNs, of Google's token server with FCM, and of the push service of a browser. Each checks what
the real one checks, and answers as the real one does; a request that a real service would not accept is also
noted in `mistakes`, and fails the test."""

import base64
import json
import re
import threading
import time
from urllib.parse import parse_qs

import http_ece
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from https_server import HttpsServer

PAYLOAD_BYTES = 4096
JSON = [("content-type", "application/json")]


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def point(public_key):
    return public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


class Mistake(Exception):
    """A request that the real service refuses as malformed."""


def require(is_right, text):
    if not is_right:
        raise Mistake(text)


class FakeService:
    """`sent` has the accepted notifications; `answers` overrides the next answers, in their order."""

    def __init__(self, authority):
        self.sent, self.mistakes, self.answers, self.requests = [], [], [], 0
        self.changed = threading.Condition()
        self.server = HttpsServer(authority, self._handle)
        self.origin = self.server.origin

    def _handle(self, request):
        with self.changed:
            self.requests += 1
            try:
                answer = self.answer(request)
            except (Mistake, jwt.PyJWTError, KeyError, ValueError) as error:
                self.mistakes.append("%s: %r" % (type(self).__name__, error))
                answer = 400, [], b"mistake"
            self.changed.notify_all()
            return answer

    def override(self, device):
        """Returns the overriding answer for this device, if there is one."""
        for at, (token, answer) in enumerate(self.answers):
            if token in (None, device):
                if answer[0] is FOREVER:
                    return answer[1]
                del self.answers[at]
                return answer
        return None

    def wait(self, condition, seconds=30):
        """Waits until the condition is true of the notifications, and returns them."""
        with self.changed:
            done = self.changed.wait_for(lambda: self.mistakes or condition(self.sent), seconds)
            assert not self.mistakes, self.mistakes
            assert done, "only these within %d s: %r" % (seconds, self.sent)
            return list(self.sent)

    def wait_requests(self, count, seconds=30):
        with self.changed:
            assert self.changed.wait_for(lambda: self.requests >= count, seconds), self.requests

    def clear(self):
        with self.changed:
            self.sent.clear()


FOREVER = object()


class FakeApns(FakeService):
    KEY_ID, TEAM_ID, TOPICS = "KEYID12345", "TEAMID1234", ("com.example.chat", "com.example.work")

    def __init__(self, authority):
        self.key = ec.generate_private_key(ec.SECP256R1())
        # Topics by device token; a token that was unregistered has the time of it.
        self.devices, self.unregistered, self.tokens = {}, {}, set()
        super().__init__(authority)

    def refuse(self, status, reason, **more):
        return status, JSON, json.dumps(dict(more, reason=reason)).encode()

    def answer(self, request):
        require(request.method == "POST", "method " + request.method)
        token = request.path.removeprefix("/3/device/")
        require(re.fullmatch("[0-9a-f]{2,200}", token), "path " + request.path)
        headers = request.headers
        kind, _, provider = headers["authorization"].partition(" ")
        require(kind == "bearer", "authorization " + kind)
        head = jwt.get_unverified_header(provider)
        require((head["alg"], head["kid"]) == ("ES256", self.KEY_ID), "header %r" % head)
        claims = jwt.decode(provider, self.key.public_key(), algorithms=["ES256"])
        require(claims["iss"] == self.TEAM_ID, "issuer")
        require(-3_600 < claims["iat"] - time.time() <= 5, "iat")
        self.tokens.add(provider)
        require(len(request.body) <= PAYLOAD_BYTES, "payload of %d bytes" % len(request.body))
        require(headers["apns-push-type"] == "alert", "push type")
        require(headers["apns-priority"] in ("1", "5", "10"), "priority")
        require(0 < len(headers["apns-collapse-id"].encode()) <= 64, "collapse id")
        require(int(headers["apns-expiration"]) > time.time(), "expiration")
        payload = json.loads(request.body)
        require(isinstance(payload["aps"]["alert"]["title"], str), "alert")
        overridden = self.override(token)
        if overridden:
            return overridden
        if token in self.unregistered:
            return self.refuse(410, "Unregistered", timestamp=self.unregistered[token])
        if token not in self.devices:
            return self.refuse(400, "BadDeviceToken")
        if headers["apns-topic"] not in self.TOPICS:
            raise Mistake("topic " + headers["apns-topic"])
        if headers["apns-topic"] != self.devices[token]:
            return self.refuse(400, "DeviceTokenNotForTopic")
        self.sent.append((token, payload, headers["apns-collapse-id"]))
        return 200, [], b""


class FakeGoogle(FakeService):
    """The token server, at `/token`, and FCM."""

    PROJECT, EMAIL, KEY_ID = "chat-12345", "push@chat-12345.iam.gserviceaccount.com", "0123abcd"
    SCOPE = "https://www.googleapis.com/auth/firebase.messaging"

    def __init__(self, authority):
        self.key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self.access_tokens, self.devices = [], set()
        super().__init__(authority)

    def service_account(self):
        return {
            "type": "service_account", "project_id": self.PROJECT, "private_key_id": self.KEY_ID,
            "private_key": private_pem(self.key), "client_email": self.EMAIL,
            "token_uri": self.origin + "/token",
        }

    def issue(self, request):
        require(request.headers["content-type"] == "application/x-www-form-urlencoded", "form")
        form = parse_qs(request.body.decode(), strict_parsing=True)
        require(form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "grant type")
        (assertion,) = form["assertion"]
        require(jwt.get_unverified_header(assertion)["kid"] == self.KEY_ID, "kid")
        claims = jwt.decode(
            assertion, self.key.public_key(), algorithms=["RS256"], audience=self.origin + "/token",
            issuer=self.EMAIL, options={"require": ["exp", "iat", "iss", "aud"]})
        require(claims["scope"] == self.SCOPE, "scope")
        require(claims["exp"] - claims["iat"] <= 3_600, "lifetime")
        token = "ya29.%d" % len(self.access_tokens)
        self.access_tokens.append(token)
        granted = {"access_token": token, "expires_in": 3_599, "token_type": "Bearer"}
        return 200, JSON, json.dumps(granted).encode()

    def refuse(self, status, code):
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        error = {"error": {"code": status, "details": [{"@type": kind, "errorCode": code}]}}
        return status, JSON, json.dumps(error).encode()

    def answer(self, request):
        require(request.method == "POST", "method " + request.method)
        if request.path == "/token":
            return self.issue(request)
        require(request.path == "/v1/projects/%s/messages:send" % self.PROJECT, "path " + request.path)
        require(request.headers["content-type"] == "application/json", "content type")
        kind, _, token = request.headers["authorization"].partition(" ")
        if kind != "Bearer" or token != self.access_tokens[-1]:
            return self.refuse(401, "UNAUTHENTICATED")
        require(len(request.body) <= PAYLOAD_BYTES, "payload of %d bytes" % len(request.body))
        body = json.loads(request.body)
        require(set(body) == {"message"}, "fields %r" % set(body))
        message = body["message"]
        known = {"token", "notification", "data", "android", "apns", "webpush"}
        require(set(message) <= known, "fields %r" % set(message))
        require(set(message["notification"]) <= {"title", "body"}, "notification")
        require(all(isinstance(value, str) for value in message["data"].values()), "data")
        android = message["android"]
        require(set(android) <= {"collapse_key", "priority", "ttl", "notification"}, "android")
        require(android["priority"] in ("NORMAL", "HIGH"), "priority")
        require(re.fullmatch(r"\d+(\.\d+)?s", android["ttl"]), "ttl")
        device = message["token"]
        overridden = self.override(device)
        if overridden:
            return overridden
        if device not in self.devices:
            return self.refuse(404, "UNREGISTERED")
        self.sent.append((device, message))
        return 200, JSON, json.dumps({"name": "projects/x/messages/1"}).encode()


class FakeBrowser:
    """A browser with a subscription."""

    def __init__(self, service, name):
        self.key, self.auth = ec.generate_private_key(ec.SECP256R1()), bytes(range(16))
        self.endpoint = service.origin + "/push/" + name
        service.browsers["/push/" + name] = self

    def registration(self):
        return {
            "provider": "webpush", "endpoint": self.endpoint,
            "p256dh": base64url(point(self.key.public_key())), "auth": base64url(self.auth),
        }


class FakeBrowserService(FakeService):
    def __init__(self, authority):
        self.browsers, self.server_key = {}, None
        super().__init__(authority)

    def answer(self, request):
        require(request.method == "POST", "method " + request.method)
        headers = request.headers
        match = re.fullmatch(r"vapid t=([^, ]+), k=([^, ]+)", headers["authorization"])
        require(match, "authorization " + headers["authorization"])
        token, server_key = match.groups()
        require(server_key == self.server_key, "the key is not the one of the subscription")
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), from_base64url(server_key))
        claims = jwt.decode(
            token, public, algorithms=["ES256"], audience=self.origin, options={"require": ["exp", "aud"]})
        require(claims["exp"] - time.time() <= 86_400, "exp")
        require(claims["sub"].startswith(("mailto:", "https:")), "sub")
        require(int(headers["ttl"]) >= 0, "ttl")
        require(headers["urgency"] in ("very-low", "low", "normal", "high"), "urgency")
        require(re.fullmatch("[A-Za-z0-9_-]{1,32}", headers["topic"]), "topic")
        require(headers["content-encoding"] == "aes128gcm", "encoding")
        require(len(request.body) <= PAYLOAD_BYTES, "body of %d bytes" % len(request.body))
        overridden = self.override(request.path)
        if overridden:
            return overridden
        browser = self.browsers.get(request.path)
        if browser is None:
            return 410, [], b""
        text = http_ece.decrypt(
            request.body, private_key=browser.key, auth_secret=browser.auth, version="aes128gcm")
        self.sent.append((request.path, json.loads(text), headers["topic"], len(request.body)))
        return 201, [("location", self.origin + "/message/1")], b""
