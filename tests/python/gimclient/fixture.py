"""The fixture of a case: users, their devices and connections, which are closed at its end."""

import itertools

from .device import Device, call, code_of
from .messages import BAD_REQUEST

_phones = itertools.count(13_800_000_001)

# Codes that report a failure, a missing method or a timeout instead of a reason for a refusal.
NOT_REFUSALS = (0, 1, 2, 4, 12, 13, 14, 15)


class Fixture:
    def __init__(self, server, wire="tcp"):
        self.server, self.wire = server, wire
        self._sessions = []

    def new_phone(self):
        return str(next(_phones))

    def user(self, nickname=None, **profile):
        """Returns a device of a new user."""
        device = Device(self.server, self.new_phone())
        if nickname is not None:
            device.call("BusinessExt.UpdateUser", nickname=nickname, **profile)
        return device

    def users(self, count):
        return [self.user() for _ in range(count)]

    def another_device(self, device):
        """Returns another device of the same user."""
        other = Device(self.server, device.phone)
        assert other.user_id == device.user_id, "one phone number belongs to two users"
        return other

    def keep(self, session):
        """Closes the connection at the end of the case."""
        self._sessions.append(session)
        return session

    def open(self, device, wire=None):
        """Returns a connection that is not signed in."""
        return self.keep(device.open(wire or self.wire))

    def signed_in(self, device, wire=None):
        session = self.open(device, wire)
        reply = session.sign_in(device)
        assert reply.code == 0, reply
        return session

    def online(self, device, wire=None):
        """Returns a signed-in connection that has synced to the end, so that pushes arrive live."""
        session = self.signed_in(device, wire)
        session.sync_all()
        return session

    def group(self, admin, *members, **fields):
        """Creates a group and returns its id."""
        ids = [member.user_id for member in members]
        fields.setdefault("name", "a group")
        return admin.call("LogicExt.CreateGroup", member_ids=ids, **fields).group_id

    def internal(self, method, **fields):
        """Calls a method on the internal listener, as a backend does."""
        return call(self.server.internal, method, **fields)

    def internal_code(self, method, **fields):
        return code_of(self.internal, method, **fields)

    def close(self):
        for session in self._sessions:
            session.close()


def assert_refused(code):
    """Checks for any code that gives a reason; the protocol does not specify the number."""
    assert code not in NOT_REFUSALS, "expected a refusal, got code %d" % code


def assert_equal(found, expected):
    assert found == expected, "found %r, expected %r" % (found, expected)


def assert_bad_request(code):
    assert_equal(code, BAD_REQUEST)
