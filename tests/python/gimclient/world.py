"""What a case is given: people, their devices and connections, all closed at its end."""

import itertools

from .device import Device, call, code_of
from .messages import BAD_REQUEST

_phones = itertools.count(13_800_000_001)

# Refusals name a reason; these say that something broke, is missing or took too long.
NOT_REFUSALS = (0, 1, 2, 4, 12, 13, 14, 15)


class World:
    def __init__(self, server, wire="tcp"):
        self.server, self.wire = server, wire
        self._sessions = []

    def new_phone(self):
        return str(next(_phones))

    def user(self, nickname=None, **profile):
        """A new person with one device."""
        device = Device(self.server, self.new_phone())
        if nickname is not None:
            device.call("BusinessExt.UpdateUser", nickname=nickname, **profile)
        return device

    def users(self, count):
        return [self.user() for _ in range(count)]

    def another_device(self, device):
        """One more device of the same person."""
        other = Device(self.server, device.phone)
        assert other.user_id == device.user_id, "one phone number, two users"
        return other

    def keep(self, session):
        """Has a connection closed at the end of the case."""
        self._sessions.append(session)
        return session

    def open(self, device, wire=None):
        """Connected, not signed in."""
        return self.keep(device.open(wire or self.wire))

    def signed_in(self, device, wire=None):
        session = self.open(device, wire)
        reply = session.sign_in(device)
        assert reply.code == 0, reply
        return session

    def online(self, device, wire=None):
        """Signed in and synced to the end, so that pushes come live from here."""
        session = self.signed_in(device, wire)
        session.sync_all()
        return session

    def group(self, admin, *members, **fields):
        """A new group; gives its id."""
        ids = [member.user_id for member in members]
        fields.setdefault("name", "a group")
        return admin.call("LogicExt.CreateGroup", member_ids=ids, **fields).group_id

    def internal(self, method, **fields):
        """A call on the internal listener, as a backend would make it."""
        return call(self.server.internal, method, **fields)

    def internal_code(self, method, **fields):
        return code_of(self.internal, method, **fields)

    def close(self):
        for session in self._sessions:
            session.close()


def assert_refused(code):
    """The protocol leaves the number open, but it must be a reason and not a fault."""
    assert code not in NOT_REFUSALS, "expected a refusal, got code %d" % code


def assert_equal(found, expected):
    assert found == expected, "found %r, expected %r" % (found, expected)


def assert_bad_request(code):
    assert_equal(code, BAD_REQUEST)
