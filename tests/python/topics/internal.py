"""The services for backends, which only the internal listener serves."""

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.device import call, code_of, next_send_time
from gimclient.fixture import assert_equal


def business_message(to, words, **other):
    fields = dict(receiver_type=m.TO_USER, receiver_id=to, message_type=m.TEXT,
                  message_content=m.text(words), send_time=next_send_time(), is_persist=True)
    fields.update(other)
    return fields


@on_both_wires
def a_backend_sends_to_a_user(fixture):
    bob, alice = fixture.users(2)
    alice.send(bob, "one before")
    at_bob = fixture.online(bob)
    answer = fixture.internal("LogicInt.SendMessage", **business_message(bob.user_id, "your order"))
    assert_equal(answer.seq, 2)
    message = at_bob.expect_words("your order")
    assert_equal((message.sender.sender_type, message.sender.sender_id, message.seq),
                 (m.BUSINESS, 0, 2))
    assert_equal((message.receiver_type, message.receiver_id), (m.TO_USER, bob.user_id))


@on_both_wires
def a_backend_sends_to_a_group(fixture):
    alice, bob = fixture.users(2)
    group_id = fixture.group(alice, bob)
    sessions = [fixture.online(alice), fixture.online(bob)]
    fields = business_message(group_id, "notice", receiver_type=m.TO_GROUP)
    assert_equal(fixture.internal("LogicInt.SendMessage", **fields).seq, 0)
    for session in sessions:
        message = session.expect_words("notice")
        assert_equal((message.sender.sender_type, message.receiver_type, message.receiver_id,
                      message.seq), (m.BUSINESS, m.TO_GROUP, group_id, 1))


@case
def a_backend_gets_the_codes_of_missing_users_and_groups(fixture):
    code = fixture.internal_code("LogicInt.SendMessage", **business_message(987654321, "x"))
    assert_equal(code, m.NO_USER)
    fields = business_message(987654321, "x", receiver_type=m.TO_GROUP)
    assert_equal(fixture.internal_code("LogicInt.SendMessage", **fields), m.NO_GROUP)


@on_both_wires
def a_backend_pushes_to_a_room(fixture):
    bob, room = fixture.user(), 8001 if fixture.wire == "tcp" else 8002
    at_bob = fixture.online(bob)
    at_bob.subscribe(room)
    fixture.internal("LogicInt.PushRoom", room_id=room, message_type=m.TEXT,
                     message_content=m.text("now playing"), is_persist=True)
    message = at_bob.expect_words("now playing")
    assert_equal((message.sender.sender_type, message.sender.sender_id), (m.BUSINESS, 0))
    assert_equal((message.receiver_type, message.receiver_id, message.seq), (m.TO_ROOM, room, 1))


@on_both_wires
def a_broadcast_reaches_everybody_online_and_is_not_kept(fixture):
    sessions = [fixture.online(user) for user in fixture.users(3)]
    fixture.internal("LogicInt.PushAll", message_type=m.TEXT, message_content=m.text("hear ye"),
                     send_time=1)
    for session in sessions:
        message = session.expect_words("hear ye")
        assert_equal((message.sender.sender_type, message.sender.sender_id,
                      message.receiver_type, message.receiver_id, message.seq, message.status),
                     (m.BUSINESS, 0, m.TO_ROOM, 0, 0, 0))
        assert_equal(session.sync_all(), [])


@case
def a_device_can_be_looked_up(fixture):
    bob = fixture.user()
    fixture.online(bob, "tcp").heartbeat()
    device = fixture.internal("LogicInt.GetDevice", device_id=bob.device_id).device
    assert_equal((device.device_id, device.user_id, device.type, device.brand),
                 (bob.device_id, bob.user_id, 1, "acme"))
    assert_equal((device.system_version, device.sdk_version, device.status), ("14", "1.0.0", 1))


@case
def an_unknown_device_is_10014(fixture):
    assert_equal(fixture.internal_code("LogicInt.GetDevice", device_id=987654321), m.NO_DEVICE)


@case
def delivering_to_an_unknown_device_succeeds(fixture):
    fixture.internal("ConnectInt.DeliverMessage", device_id=987654321,
                     message_send=dict(message=dict(seq=1)))


@case
def a_backend_checks_a_token(fixture):
    bob = fixture.user()
    for method in ("BusinessInt.Auth", "UserInt.Auth"):
        good = dict(user_id=bob.user_id, device_id=bob.device_id, token=bob.token)
        assert_equal(fixture.internal_code(method, **good), 0)
        assert_equal(fixture.internal_code(method, **dict(good, token="wrong")), m.UNAUTHORIZED)


@case
def a_backend_looks_up_users_and_absent_ones_are_left_out(fixture):
    alice, bob = fixture.user("Alice"), fixture.user("Bob")
    assert_equal(fixture.internal("BusinessInt.GetUser", user_id=bob.user_id).user.nickname, "Bob")
    ids = [dict(key=i, value=0) for i in (alice.user_id, 987654321, bob.user_id)]
    users = fixture.internal("BusinessInt.GetUsers", user_ids=ids).users
    assert_equal({entry.key: entry.value.nickname for entry in users},
                 {alice.user_id: "Alice", bob.user_id: "Bob"})


@case
def internal_services_are_not_on_the_client_ports(fixture):
    bob = fixture.user()
    calls = (
        ("LogicInt.GetDevice", dict(device_id=bob.device_id)),
        ("LogicInt.SendMessage", business_message(bob.user_id, "forged")),
        ("LogicInt.PushAll", dict(message_type=m.TEXT)),
        ("BusinessInt.GetUser", dict(user_id=bob.user_id)),
        ("ConnectInt.DeliverMessage", dict(device_id=bob.device_id)))
    for channel in (fixture.server.logic, fixture.server.business):
        for metadata in ([], bob.metadata()):
            for method, fields in calls:
                code = code_of(call, channel, method, metadata, **fields)
                assert code == m.UNIMPLEMENTED, (method, code)
    assert_equal(fixture.signed_in(bob).sync_all(), [])
