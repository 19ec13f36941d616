"""Edge cases in which gimlet differs from gim, one case for each item of docs/protocol.md."""

import time

from gimclient import messages as m
from gimclient.cases import case
from gimclient.deadline import Deadline
from gimclient.device import Refused, call
from gimclient.fixture import assert_bad_request, assert_equal

DENIED, NO_USER = 7, 10016


def refusal(action, *args, **kwargs):
    try:
        action(*args, **kwargs)
    except Refused as refused:
        return refused
    raise AssertionError("it was accepted")


@case
def a_push_120_lists_only_the_added_users(fixture):
    alice, bob, carol = fixture.users(3)
    group = fixture.group(alice, bob)
    at_alice = fixture.online(alice)
    alice.call("LogicExt.AddGroupMembers", group_id=group, user_ids=[carol.user_id, bob.user_id])
    _, push = at_alice.expect_command(m.ADD_GROUP_MEMBERS)
    assert_equal([member.user_id for member in push.members], [carol.user_id])
    # No new member: the answer names the existing ones, and no push is sent.
    answer = alice.call("LogicExt.AddGroupMembers", group_id=group, user_ids=[bob.user_id])
    assert_equal(list(answer.user_ids), [bob.user_id])
    alice.send_group(group, "after it")
    bob_sees = fixture.signed_in(bob).sync_all()
    assert_equal([m.command_of(e)[0] for e in bob_sees if e.message_type == m.COMMAND],
                 [m.ADD_GROUP_MEMBERS])


@case
def a_members_role_is_1_or_2_or_left_as_it_is(fixture):
    alice, bob, stranger = fixture.users(3)
    group = fixture.group(alice, bob)

    def change(by, whom, **fields):
        return by.code("LogicExt.UpdateGroupMember", group_id=group, user_id=whom.user_id, **fields)

    assert_equal(change(alice, bob, member_type=0, remarks="kept"), 0)
    assert_bad_request(change(alice, bob, member_type=7))
    assert_bad_request(change(alice, stranger, member_type=2))
    assert_equal(change(bob, bob, member_type=1), DENIED)
    assert_equal(change(bob, bob, remarks="mine"), 0)
    assert_equal(change(alice, alice, member_type=2), DENIED)


@case
def a_friend_request_to_oneself_or_nobody_is_refused(fixture):
    alice, bob = fixture.users(2)
    assert_bad_request(alice.code("LogicExt.AddFriend", friend_id=alice.user_id))
    assert_equal(alice.code("LogicExt.AddFriend", friend_id=987_654_321), NO_USER)
    assert_bad_request(bob.code("LogicExt.AgreeAddFriend", user_id=alice.user_id))
    # A repeat while the request is open is accepted and pushed only once.
    for _ in range(2):
        alice.call("LogicExt.AddFriend", friend_id=bob.user_id)
    assert_equal(len(fixture.signed_in(bob).sync_all()), 1)


@case
def a_sign_in_with_an_impossible_id_is_a_bad_request_and_a_wrong_token_unauthorized(fixture):
    alice = fixture.user()
    session = fixture.open(alice)
    for ids in (dict(device_id=0), dict(user_id=0), dict(user_id=-1)):
        fields = dict(device_id=alice.device_id, user_id=alice.user_id, token=alice.token)
        fields.update(ids)
        reply = session.request(m.SIGN_IN, m.CODEC.encode("SignInInput", **fields))
        assert_bad_request(reply.code)
    assert_equal(session.sign_in(alice, token="").code, m.UNAUTHORIZED)
    assert_equal(session.sign_in(alice).code, 0)


@case
def a_client_that_never_syncs_gets_its_first_push_after_the_wait(fixture):
    alice, bob = fixture.users(2)
    at_bob = fixture.signed_in(bob)
    began = time.monotonic()
    alice.send(bob, "hello")
    at_bob.expect_words("hello", timeout=30)
    # limits.sync_wait is 5 s, counted from the sign-in a moment earlier.
    waited = time.monotonic() - began
    assert waited > 3, "it came after %.1f s" % waited
    alice.send(bob, "then at once")
    at_bob.expect_words("then at once")


@case
def a_device_that_is_offline_has_status_0_and_no_addresses(fixture):
    alice = fixture.user()

    def device():
        return fixture.internal("LogicInt.GetDevice", device_id=alice.device_id).device

    found = device()
    assert_equal((found.user_id, found.status, found.client_addr), (0, 0, ""))
    session = fixture.signed_in(alice)
    found = device()
    assert_equal((found.user_id, found.status), (alice.user_id, 1))
    session.close()
    end = Deadline(10)
    while device().status and not end.passed():
        time.sleep(0.02)
    found = device()
    assert_equal((found.user_id, found.status, found.conn_addr, found.client_addr),
                 (alice.user_id, 0, "", ""))


@case
def a_profile_has_bounds_that_the_refusal_names(fixture):
    alice = fixture.user()
    for field, most in (("nickname", 255), ("avatar_url", 512), ("extra", 1024)):
        assert_equal(alice.code("BusinessExt.UpdateUser", **{field: "x" * most}), 0)
        refused = refusal(alice.call, "BusinessExt.UpdateUser", **{field: "x" * (most + 1)})
        assert_bad_request(refused.code)
        assert field in refused.message and str(most) in refused.message, refused.message
    assert_bad_request(alice.code("BusinessExt.UpdateUser", sex=3))


@case
def a_room_has_a_number_from_1_up(fixture):
    alice = fixture.user()
    content = dict(message_type=m.TEXT, message_content=m.text("x"))
    for room_id in (0, -1):
        assert_bad_request(alice.code("LogicExt.PushRoom", room_id=room_id, **content))
        assert_bad_request(fixture.internal_code("LogicInt.PushRoom", room_id=room_id, **content))


@case
def empty_content_and_unknown_types_are_carried(fixture):
    alice, bob = fixture.users(2)
    alice.send(bob, message_content=b"")
    alice.send(bob, message_type=0)
    alice.send(bob, message_type=99)
    entries = fixture.signed_in(bob).sync_all()
    assert_equal([e.message_type for e in entries], [m.TEXT, 0, 99])
    assert_equal(entries[0].message_content, b"")


@case
def texts_of_refusals_are_english_and_say_what_to_do(fixture):
    alice = fixture.user()
    refused = refusal(alice.send, 0, "x")
    assert "receiver_id" in refused.message and "from 1" in refused.message, refused.message
    unsigned = refusal(call, fixture.server.logic, "LogicExt.GetFriends")
    assert "sign in again" in unsigned.message, unsigned.message


@case
def a_url_that_signs_in_gets_no_answer_and_one_that_does_not_gets_type_1(fixture):
    alice = fixture.user()
    session = fixture.keep(alice.open_by_url())
    # The first received packet is the heartbeat's answer.
    assert_equal(session.heartbeat().code, 0)
    wrong = fixture.keep(alice.open_by_url(token="wrong"))
    reply = wrong.next_packet()
    assert_equal((reply.type, reply.request_id, reply.code), (m.SIGN_IN, 0, m.UNAUTHORIZED))
