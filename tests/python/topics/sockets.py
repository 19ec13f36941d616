"""Packets over a socket, the same over TCP and WebSocket."""

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.fixture import assert_equal, assert_refused

BIG_ID = (1 << 62) + 1
NOT_PROTOBUF = b"\xff\xff\xff"


@on_both_wires
def a_device_signs_in(fixture):
    user = fixture.user()
    reply = fixture.open(user).sign_in(user)
    assert_equal((reply.type, reply.code, reply.message), (m.SIGN_IN, 0, ""))


@on_both_wires
def a_wrong_token_is_answered_with_10000_and_may_be_tried_again(fixture):
    user = fixture.user()
    session = fixture.open(user)
    reply = session.sign_in(user, token="wrong")
    assert_equal((reply.type, reply.code), (m.SIGN_IN, m.UNAUTHORIZED))
    assert_equal(session.sign_in(user).code, 0)
    session.heartbeat()


@on_both_wires
def every_reply_echoes_the_request_id(fixture):
    user = fixture.user()
    session = fixture.open(user)
    sign_in = m.CODEC.encode("SignInInput", device_id=user.device_id, user_id=user.user_id,
                             token=user.token)
    room = m.CODEC.encode("SubscribeRoomInput", room_id=1)
    packets = [(m.SIGN_IN, sign_in, BIG_ID)]
    for request_id in (BIG_ID, 1, 0, -5):
        packets += [(m.SYNC, b"", request_id), (m.HEARTBEAT, b"", request_id),
                    (m.SUBSCRIBE_ROOM, room, request_id)]
    for package_type, data, request_id in packets:
        session.post(package_type, data, request_id)
        reply = session.next_packet()
        assert_equal((reply.type, reply.request_id, reply.code), (package_type, request_id, 0))


@on_both_wires
def sign_in_sync_and_subscribe_in_one_write_are_answered_in_order(fixture):
    user = fixture.user()
    session = fixture.open(user)
    sign_in = m.CODEC.encode("SignInInput", device_id=user.device_id, user_id=user.user_id,
                             token=user.token)
    room = m.CODEC.encode("SubscribeRoomInput", room_id=1)
    session.link.send_together([
        session.packet(m.SIGN_IN, sign_in, 11), session.packet(m.SYNC, b"", 12),
        session.packet(m.SUBSCRIBE_ROOM, room, 0)])
    for expected in ((m.SIGN_IN, 11, 0), (m.SYNC, 12, 0), (m.SUBSCRIBE_ROOM, 0, 0)):
        reply = session.next_packet()
        assert_equal((reply.type, reply.request_id, reply.code), expected)


@on_both_wires
def a_hundred_packets_in_one_write_are_answered_in_order(fixture):
    user = fixture.user()
    session = fixture.signed_in(user)
    session.link.send_together([session.packet(m.HEARTBEAT, b"", n) for n in range(1, 101)])
    assert_equal([session.next_packet().request_id for _ in range(100)], list(range(1, 101)))


@on_both_wires
def signing_in_twice_on_one_connection_is_accepted(fixture):
    user, friend = fixture.users(2)
    session = fixture.signed_in(user)
    assert_equal(session.sign_in(user).code, 0)
    session.sync_all()
    friend.send(user, "still there?")
    session.expect_words("still there?")


@on_both_wires
def packets_before_sign_in_are_answered_with_10000(fixture):
    user = fixture.user()
    session = fixture.open(user)
    for package_type in (m.SYNC, m.SUBSCRIBE_ROOM):
        reply = session.request(package_type)
        assert_equal((reply.type, reply.code), (package_type, m.UNAUTHORIZED))
    assert_equal(session.sign_in(user).code, 0)


@on_both_wires
def a_packet_of_unknown_type_gets_an_error_reply(fixture):
    session = fixture.signed_in(fixture.user())
    reply = session.request(99)
    assert_refused(reply.code)
    session.heartbeat()


@on_both_wires
def a_negative_sync_is_a_bad_request(fixture):
    session = fixture.signed_in(fixture.user())
    reply = session.sync_reply(-1)
    assert_equal((reply.type, reply.code, reply.data), (m.SYNC, m.BAD_REQUEST, b""))
    assert_equal(session.sync_all(), [])


@on_both_wires
def an_empty_packet_leaves_the_connection_open(fixture):
    session = fixture.signed_in(fixture.user())
    session.link.send(b"")
    session.heartbeat()


@on_both_wires
def an_undecodable_packet_is_answered_and_the_third_closes(fixture):
    session = fixture.signed_in(fixture.user())
    for _ in range(2):
        session.link.send(NOT_PROTOBUF)
        reply = session.next_packet()
        assert_equal((reply.type, reply.code), (0, m.BAD_REQUEST))
        session.heartbeat()
    session.link.send(NOT_PROTOBUF)
    session.expect_close()


@on_both_wires
def an_undecodable_payload_is_answered_and_the_connection_lives(fixture):
    session = fixture.signed_in(fixture.user())
    session.post(m.SYNC, NOT_PROTOBUF)
    assert_equal(session.next_packet().code, m.BAD_REQUEST)
    session.heartbeat()


@on_both_wires
def a_packet_of_65535_bytes_is_read(fixture):
    session = fixture.signed_in(fixture.user())
    for size in (300, 1022, 65535):
        around = len(session.packet(m.HEARTBEAT, b"x" * (size - 8), 7)) - (size - 8)
        body = session.packet(m.HEARTBEAT, b"x" * (size - around), 7)
        assert_equal(len(body), size)
        session.link.send(body)
        reply = session.next_packet()
        assert_equal((reply.type, reply.request_id, reply.code), (m.HEARTBEAT, 7, 0))


@case
def a_websocket_message_of_70000_bytes_closes(fixture):
    user = fixture.user()
    session = fixture.signed_in(user, "ws")
    session.post(m.HEARTBEAT, b"x" * 70_000)
    session.expect_close()
    fixture.signed_in(user, "ws").heartbeat()
