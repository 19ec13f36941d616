"""One device of one user, with its gRPC calls and sockets."""

import itertools
import time
from urllib.parse import urlencode

from . import messages as m
from .session import Session
from .tcp import TcpLink
from .ws import WsLink

DEVELOPMENT_CODE = "000000"

# The server tells a message from a repeat by its send time, so every send time here is unique.
# Whole seconds are left out, because they do not distinguish messages.
_send_times = (at for at in itertools.count(int(time.time() * 1000)) if at % 1000)


class Refused(Exception):
    """A gRPC answer with a status other than 0."""

    def __init__(self, method, code, message):
        super().__init__("%s: code %d %s" % (method, code, message))
        self.code, self.message = code, message


def next_send_time():
    return next(_send_times)


def call(channel, method, metadata=(), **fields):
    """Calls "Service.Method" with the fields of its request and returns the response message."""
    path, request, response = m.METHODS[method]
    payload = m.CODEC.encode(request, **fields)
    code, message, body = channel.call(path, payload, metadata)
    if code != 0:
        raise Refused(method, code, message)
    return m.CODEC.decode(response, body)


def code_of(action, *args, **kwargs):
    """Returns the gRPC code of `action`."""
    try:
        action(*args, **kwargs)
    except Refused as refusal:
        return refusal.code
    return 0


class Device:
    """A registered and signed-in device; `server` has the addresses."""

    def __init__(self, server, phone, code=DEVELOPMENT_CODE):
        self.server, self.phone = server, phone
        self.device_id = register(server)
        self.user_id, self.token, self.is_new = 0, "", None
        self.sign_in(code)

    def sign_in(self, code=DEVELOPMENT_CODE, phone=None):
        """Signs in with the metadata of the previous sign-in, as fim does."""
        self.phone = phone or self.phone
        shown = self.metadata() if self.token else []
        answer = call(self.server.business, "BusinessExt.SignIn", shown, phone_number=self.phone,
                      code=code, device_id=self.device_id)
        self.user_id, self.token, self.is_new = answer.user_id, answer.token, answer.is_new
        return answer

    def metadata(self, **other):
        values = dict(user_id=self.user_id, device_id=self.device_id, token=self.token)
        values.update(other)
        return [(key, str(value)) for key, value in values.items() if value is not None]

    def call(self, method, request_id=None, channel=None, **fields):
        """Calls a method as this device. LogicExt and BusinessExt go to gim's two ports."""
        if channel is None:
            business = method.startswith(("BusinessExt", "UserExt"))
            channel = self.server.business if business else self.server.logic
        return call(channel, method, self.metadata(request_id=request_id), **fields)

    def code(self, method, **fields):
        """Returns the code of a call."""
        return code_of(self.call, method, **fields)

    # messages

    def draft(self, to, words="", **other):
        """Returns the fields of a SendMessage to a device's user, or to a user id."""
        receiver = to.user_id if isinstance(to, Device) else to
        fields = dict(receiver_type=m.TO_USER, receiver_id=receiver, message_type=m.TEXT,
                      message_content=m.text(words), send_time=next_send_time(), is_persist=True)
        fields.update(other)
        return fields

    def send(self, to, words="", **other):
        """Sends a text and returns the seq of the sender's own copy."""
        return self.call("LogicExt.SendMessage", **self.draft(to, words, **other)).seq

    def send_code(self, to, words="", **other):
        return code_of(self.send, to, words, **other)

    def send_group(self, group_id, words, **other):
        return self.send(group_id, words, receiver_type=m.TO_GROUP, **other)

    def push_room(self, room_id, words, keep=True):
        self.call("LogicExt.PushRoom", room_id=room_id, message_type=m.TEXT,
                  message_content=m.text(words), send_time=next_send_time(), is_persist=keep)

    # sockets

    def open(self, wire):
        """Opens a connection without signing in."""
        if wire == "tcp":
            return Session(TcpLink(self.server.tcp_address))
        return Session(WsLink(self.server.ws_address))

    def open_by_url(self, token=None):
        """Opens a WebSocket that signs in by its URL."""
        query = urlencode(dict(user_id=self.user_id, device_id=self.device_id,
                               token=self.token if token is None else token))
        return Session(WsLink(self.server.ws_address, "/ws?" + query))


def register(server, **other):
    """Registers a device and returns its id."""
    fields = dict(type=1, brand="acme", model="a model name longer than twenty characters",
                  system_version="14", sdk_version="1.0.0")
    fields.update(other)
    return call(server.logic, "LogicExt.RegisterDevice", **fields).device_id
