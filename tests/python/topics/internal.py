"""The services for backends, on their own listener and nowhere else."""

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.device import call, code_of, next_send_time
from gimclient.world import assert_equal


def business_message(to, words, **other):
    fields = dict(receiver_type=m.TO_USER, receiver_id=to, message_type=m.TEXT,
                  message_content=m.text(words), send_time=next_send_time(), is_persist=True)
    fields.update(other)
    return fields


@on_both_wires
def a_backend_sends_to_a_user(w):
    bob, alice = w.users(2)
    alice.send(bob, "one before")
    at_bob = w.online(bob)
    answer = w.internal("LogicInt.SendMessage", **business_message(bob.user_id, "your order"))
    assert_equal(answer.seq, 2)
    message = at_bob.expect_words("your order")
    assert_equal((message.sender.sender_type, message.sender.sender_id, message.seq),
                 (m.BUSINESS, 0, 2))
    assert_equal((message.receiver_type, message.receiver_id), (m.TO_USER, bob.user_id))


@on_both_wires
def a_backend_sends_to_a_group(w):
    alice, bob = w.users(2)
    group_id = w.group(alice, bob)
    sessions = [w.online(alice), w.online(bob)]
    fields = business_message(group_id, "notice", receiver_type=m.TO_GROUP)
    assert_equal(w.internal("LogicInt.SendMessage", **fields).seq, 0)
    for session in sessions:
        message = session.expect_words("notice")
        assert_equal((message.sender.sender_type, message.receiver_type, message.receiver_id,
                      message.seq), (m.BUSINESS, m.TO_GROUP, group_id, 1))


@case
def a_backend_hears_of_missing_users_and_groups(w):
    code = w.internal_code("LogicInt.SendMessage", **business_message(987654321, "x"))
    assert_equal(code, m.NO_USER)
    fields = business_message(987654321, "x", receiver_type=m.TO_GROUP)
    assert_equal(w.internal_code("LogicInt.SendMessage", **fields), m.NO_GROUP)


@on_both_wires
def a_backend_pushes_to_a_room(w):
    bob, room = w.user(), 8001 if w.wire == "tcp" else 8002
    at_bob = w.online(bob)
    at_bob.subscribe(room)
    w.internal("LogicInt.PushRoom", room_id=room, message_type=m.TEXT,
               message_content=m.text("now playing"), is_persist=True)
    message = at_bob.expect_words("now playing")
    assert_equal((message.sender.sender_type, message.sender.sender_id), (m.BUSINESS, 0))
    assert_equal((message.receiver_type, message.receiver_id, message.seq), (m.TO_ROOM, room, 1))


@on_both_wires
def a_broadcast_reaches_everybody_online_and_is_not_kept(w):
    sessions = [w.online(user) for user in w.users(3)]
    w.internal("LogicInt.PushAll", message_type=m.TEXT, message_content=m.text("hear ye"),
               send_time=1)
    for session in sessions:
        message = session.expect_words("hear ye")
        assert_equal((message.sender.sender_type, message.sender.sender_id,
                      message.receiver_type, message.receiver_id, message.seq, message.status),
                     (m.BUSINESS, 0, m.TO_ROOM, 0, 0, 0))
        assert_equal(session.sync_all(), [])


@case
def a_device_can_be_looked_up(w):
    bob = w.user()
    w.online(bob, "tcp").heartbeat()
    device = w.internal("LogicInt.GetDevice", device_id=bob.device_id).device
    assert_equal((device.device_id, device.user_id, device.type, device.brand),
                 (bob.device_id, bob.user_id, 1, "acme"))
    assert_equal((device.system_version, device.sdk_version, device.status), ("14", "1.0.0", 1))


@case
def an_unknown_device_is_10014(w):
    assert_equal(w.internal_code("LogicInt.GetDevice", device_id=987654321), m.NO_DEVICE)


@case
def delivering_to_an_unknown_device_is_no_error(w):
    w.internal("ConnectInt.DeliverMessage", device_id=987654321,
               message_send=dict(message=dict(seq=1)))


@case
def a_backend_checks_a_token(w):
    bob = w.user()
    for method in ("BusinessInt.Auth", "UserInt.Auth"):
        good = dict(user_id=bob.user_id, device_id=bob.device_id, token=bob.token)
        assert_equal(w.internal_code(method, **good), 0)
        assert_equal(w.internal_code(method, **dict(good, token="wrong")), m.UNAUTHORIZED)


@case
def a_backend_looks_up_users_and_absent_ones_are_left_out(w):
    alice, bob = w.user("Alice"), w.user("Bob")
    assert_equal(w.internal("BusinessInt.GetUser", user_id=bob.user_id).user.nickname, "Bob")
    ids = [dict(key=i, value=0) for i in (alice.user_id, 987654321, bob.user_id)]
    users = w.internal("BusinessInt.GetUsers", user_ids=ids).users
    assert_equal({entry.key: entry.value.nickname for entry in users},
                 {alice.user_id: "Alice", bob.user_id: "Bob"})


@case
def internal_services_are_not_on_the_client_ports(w):
    bob = w.user()
    calls = (
        ("LogicInt.GetDevice", dict(device_id=bob.device_id)),
        ("LogicInt.SendMessage", business_message(bob.user_id, "forged")),
        ("LogicInt.PushAll", dict(message_type=m.TEXT)),
        ("BusinessInt.GetUser", dict(user_id=bob.user_id)),
        ("ConnectInt.DeliverMessage", dict(device_id=bob.device_id)))
    for channel in (w.server.logic, w.server.business):
        for metadata in ([], bob.metadata()):
            for method, fields in calls:
                code = code_of(call, channel, method, metadata, **fields)
                assert code == m.UNIMPLEMENTED, (method, code)
    assert_equal(w.signed_in(bob).sync_all(), [])
