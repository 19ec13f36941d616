"""The backend's users and tokens, in memory, independent of gRPC.

A real backend has a database here. Users and tokens belong to the backend, devices to gimlet. A
token may be bound to a device; here it is not.
"""

import hmac
import json
import time

# The fields sent to gimlet, with their defaults.
_FIELDS = {"nickname": "", "sex": 0, "avatar_url": "", "extra": ""}


class Users:
    def __init__(self, rows):
        self._users, self._tokens = {}, {}
        now = int(time.time())
        for row in rows:
            user_id = row["user_id"]
            self._users[user_id] = {"user_id": user_id, "create_time": now, "update_time": now}
            self._users[user_id].update({k: row.get(k, v) for k, v in _FIELDS.items()})
            self._tokens[user_id] = set(row["tokens"])

    @classmethod
    def from_file(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))

    def __len__(self):
        return len(self._users)

    def may_sign_in(self, user_id, token):
        """Returns whether the token belongs to the user; compares in constant time."""
        known = self._tokens.get(user_id, ())
        return any(hmac.compare_digest(one.encode(), token.encode()) for one in known)

    def get(self, user_id):
        """Returns the fields of pb.User, or None."""
        return self._users.get(user_id)

    def rename(self, user_id, nickname):
        self._users[user_id].update(nickname=nickname, update_time=int(time.time()))

    def revoke(self, user_id):
        """Revokes all tokens of the user."""
        self._tokens[user_id].clear()
