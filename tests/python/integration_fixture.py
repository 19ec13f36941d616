"""The two processes of integration.py, and the users of the backend."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from gimclient.deadline import Deadline
from gimclient.device import Device, call, register
from gimclient.server import Server, free_addresses
from gimclient.fixture import Fixture

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "a secret of this run"
# The metadata by which gimlet and a backend authenticate each other.
AS_BACKEND = [("authorization", "Bearer " + SECRET)]
USERS = 200


class Backend:
    """The business server as a process."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="gimlet-business-")
        self.address = free_addresses(1)[0]
        self.process = None
        # New ids in each run: a database may hold the inboxes of earlier runs.
        first = int(time.time() * 1000) << 10
        self.users = [self._person(first + n) for n in range(USERS)]
        self._path = os.path.join(self.folder, "users.json")
        with open(self._path, "w", encoding="utf-8") as file:
            json.dump(self.users, file)

    @staticmethod
    def _person(user_id):
        return dict(user_id=user_id, nickname="person %d" % user_id, sex=user_id % 3,
                    avatar_url="https://example.com/%d.png" % user_id, extra="extra %d" % user_id,
                    tokens=["token-of-%d" % user_id])

    def start(self, secret=SECRET):
        """Starts the server, always at the same address; it expects `secret` from gimlet."""
        command = [sys.executable, "-m", "business_server", "--users", self._path,
                   "--listen", "%s:%d" % self.address]
        self.process = subprocess.Popen(
            command, cwd=HERE, env=dict(os.environ, BUSINESS_SECRET=secret, PYTHONUNBUFFERED="1"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        assert "users on" in said, "the business server did not start: %r" % said

    def ask(self, line):
        """Sends a command line and returns the answer."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def say(self, line):
        """Sends a command line and checks that it was accepted."""
        said = self.ask(line)
        assert said == "done", said

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Gimlet(Server):
    """gimlet without the business role."""

    def __init__(self, binary, backend):
        super().__init__(binary)
        self.backend = backend
        self.with_own_users = False

    def environment(self):
        own = super().environment()
        own["GIMLET_CLUSTER__SECRET"] = SECRET
        # Many cases sign in with wrong tokens on purpose, and read profiles that have just changed.
        own["GIMLET_LIMITS__FAILED_SIGN_INS"] = "100000"
        own["GIMLET_LIMITS__PROFILE_TTL"] = "1s"
        mysql, redis = os.environ.get("GIMLET_TEST_MYSQL"), os.environ.get("GIMLET_TEST_REDIS")
        if mysql and redis:
            own.update(GIMLET_STORAGE__KIND="mysql", GIMLET_STORAGE__MYSQL_URL=mysql,
                       GIMLET_STORAGE__REDIS_URL=redis)
        if not self.with_own_users:
            own["GIMLET_ROLES"] = "connect,logic"
            own["GIMLET_CLUSTER__BUSINESS"] = "%s:%d" % self.backend.address
        return own


class BackendUser(Device):
    """A device of a user that exists only in the backend."""

    def __init__(self, server, person):
        self.server, self.phone, self.person = server, "", person
        self.device_id = register(server)
        self.user_id, self.token = person["user_id"], person["tokens"][0]


class BackendFixture(Fixture):
    """The fixture of a case; its users come from the backend."""

    taken = 0

    def __init__(self, server, backend, wire):
        super().__init__(server, wire)
        self.backend = backend

    def user(self, nickname=None, **profile):
        person = self.backend.users[BackendFixture.taken]
        BackendFixture.taken += 1
        return BackendUser(self.server, person)

    def another_device(self, device):
        return BackendUser(self.server, device.person)

    def internal(self, method, **fields):
        return call(self.server.internal, method, AS_BACKEND, **fields)

    def close(self):
        """Leaves the backend running and behaving normally for the next case."""
        super().close()
        if self.backend.process is None or self.backend.process.poll() is not None:
            self.backend.start()
        self.backend.say("normal")


def eventually(action, seconds=10.0):
    """Repeats `action` until its result is true; returns the result and the seconds it took."""
    began, deadline = time.monotonic(), Deadline(seconds)
    while True:
        found = action()
        if found:
            return found, time.monotonic() - began
        assert not deadline.passed(), "the condition did not hold within %.0f s" % seconds
        time.sleep(0.05)
