"""pb.BusinessInt (and its older name pb.UserInt) on grpcio, without generated code.

Three methods: Auth, GetUser, GetUsers. Requests and answers are encoded by the tables of
gimclient/messages.py, which are written from the protocol's description.
"""

import asyncio
import enum
import hmac

import grpc

from gimclient.messages import CODEC

OK, PERMISSION_DENIED, UNAUTHORIZED, NO_SUCH_USER = 0, 7, 10000, 10016
_SERVICES = ("pb.BusinessInt", "pb.UserInt")


def status(number):
    """Returns a status that grpcio's asyncio server accepts. Its own enum ends at 16 and gim's codes
    begin at 10000, but it sends any enum member of the shape (number, text) unchanged. The threaded
    server (grpc.server) cannot do this: it sends 2 for unknown statuses."""
    return enum.Enum("Status", {"CODE": (number, "code %d" % number)}).CODE


class BusinessInt(grpc.GenericRpcHandler):
    def __init__(self, users, behaviour, secret=None):
        self._users, self._behaviour, self._secret = users, behaviour, secret
        # Addresses of the callers: one for each connection that was used.
        self.peers = set()
        methods = {
            "Auth": ("AuthReq", self._auth),
            "GetUser": ("GetUserReq", self._get_user),
            "GetUsers": ("GetUsersReq", self._get_users),
        }
        self._handlers = {
            "/%s/%s" % (service, name): self._handler(*method)
            for service in _SERVICES for name, method in methods.items()
        }

    def service(self, handler_call_details):
        """Returns the handler of a path, or None, which grpcio answers with UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, request_name, answer):
        async def handle(data, context):
            self.peers.add(context.peer())
            await asyncio.sleep(self._behaviour.slow_ms / 1000)
            if not self._is_gimlet(context):
                await context.abort(status(PERMISSION_DENIED), "the cluster's secret is wrong")
            if self._behaviour.invalid == "garbage":
                return b"\xff" * 40
            code, said = answer(CODEC.decode(request_name, data))
            if code != OK:
                await context.abort(status(code), said)
            return said

        return grpc.unary_unary_rpc_method_handler(handle)

    def _is_gimlet(self, context):
        if self._secret is None:
            return True
        metadata = dict(context.invocation_metadata())
        given = metadata.get("authorization", "")
        return hmac.compare_digest(given.encode(), ("Bearer " + self._secret).encode())

    # The three methods. Each returns (0, bytes) or (code, text).

    def _auth(self, request):
        if self._users.may_sign_in(request.user_id, request.token):
            return OK, b""
        return self._behaviour.refuse_with, "the token is wrong or expired"

    def _get_user(self, request):
        user = self._shown(request.user_id)
        if user is None:
            return NO_SUCH_USER, "no user %d" % request.user_id
        return OK, CODEC.encode("GetUserResp", user=user)

    def _get_users(self, request):
        found = [(entry.key, self._shown(entry.key)) for entry in request.user_ids]
        users = [{"key": key, "value": user} for key, user in found if user is not None]
        return OK, CODEC.encode("GetUsersResp", users=users)

    def _shown(self, user_id):
        user = self._users.get(user_id)
        if user is None or self._behaviour.invalid is None:
            return user
        if self._behaviour.invalid == "unrequested":
            return dict(user, user_id=user_id + 1_000_000, nickname="a stranger")
        return dict(user, nickname="n" * 1_000_000, extra="e" * 1_000_000)
