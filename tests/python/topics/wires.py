"""Cases of one wire only: split TCP frames, and WebSocket features."""

from gimclient import messages as m
from gimclient.cases import case
from gimclient.link import Closed
from gimclient.tcp import frame
from gimclient.fixture import assert_equal
from gimclient.ws import NotUpgraded, WsLink


@case
def a_tcp_packet_may_arrive_byte_by_byte(fixture):
    session = fixture.signed_in(fixture.user(), "tcp")
    for byte in frame(session.packet(m.HEARTBEAT, b"", 21)):
        session.link.stream.write(bytes([byte]))
    assert_equal(session.next_packet().request_id, 21)


@case
def a_half_packet_and_a_hang_up_harm_nobody(fixture):
    user = fixture.user()
    session = fixture.signed_in(user, "tcp")
    session.link.stream.write(frame(session.packet(m.HEARTBEAT, b"x" * 50, 1))[:20])
    session.close()
    fixture.signed_in(user, "tcp").heartbeat()


@case
def a_websocket_message_may_come_in_fragments(fixture):
    session = fixture.signed_in(fixture.user(), "ws")
    body = session.packet(m.HEARTBEAT, b"", 22)
    session.link.send_in_fragments([body[:1], body[1:2], body[2:]])
    assert_equal(session.next_packet().request_id, 22)


@case
def a_websocket_ping_is_answered(fixture):
    session = fixture.signed_in(fixture.user(), "ws")
    session.link.ping(b"are you there")
    session.heartbeat()
    if not session.link.pongs:
        session.heartbeat()
    assert_equal(session.link.pongs, [b"are you there"])


@case
def a_websocket_may_sign_in_by_its_address(fixture):
    user, friend = fixture.users(2)
    session = fixture.keep(user.open_by_url())
    session.post(m.SYNC, b"", 31)
    reply = session.next_packet()
    assert_equal((reply.type, reply.request_id, reply.code), (m.SYNC, 31, 0))
    friend.send(user, "by address")
    session.expect_words("by address")


@case
def a_websocket_address_with_a_wrong_token_does_not_sign_in(fixture):
    user = fixture.user()
    try:
        session = fixture.keep(user.open_by_url(token="wrong"))
    except (NotUpgraded, Closed):
        return
    try:
        reply = session.request(m.SYNC)
    except Closed:
        return
    assert_equal((reply.type, reply.code, reply.data), (m.SYNC, m.UNAUTHORIZED, b""))


@case
def a_websocket_address_with_only_a_part_waits_for_sign_in(fixture):
    user = fixture.user()
    link = WsLink(fixture.server.ws_address, "/ws?user_id=%d" % user.user_id)
    link.close()
    fixture.signed_in(user, "ws").heartbeat()


@case
def only_the_path_ws_is_a_websocket(fixture):
    try:
        WsLink(fixture.server.ws_address, "/elsewhere").close()
    except NotUpgraded:
        return
    raise AssertionError("/elsewhere was upgraded")


@case
def a_page_of_another_origin_opens_no_websocket(fixture):
    address = fixture.server.ws_address
    for origin in ("http://%s:%d" % address, "http://localhost:3000"):
        WsLink(address, origin=origin).close()
    for origin in ("http://elsewhere.example", "null"):
        try:
            WsLink(address, origin=origin)
        except NotUpgraded as answer:
            assert " 403 " in str(answer), answer
        else:
            raise AssertionError("a page of %s was let in" % origin)
