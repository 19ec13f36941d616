"""Groups: members, messages to all of them, and the system pushes 110, 120 and 121."""

import time

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.fixture import assert_equal

MISSING_GROUP = 987654321


def roles(device, group_id):
    members = device.call("LogicExt.GetGroupMembers", group_id=group_id).members
    found = {member.user_id: member.member_type for member in members}
    assert_equal(len(found), len(members))
    return found


@case
def a_new_group_has_the_requested_fields_and_members(fixture):
    admin, *others = fixture.users(3)
    fields = dict(name="Große Gruppe 🦀", avatar_url="http://a.example/g", introduction="i",
                  extra="x")
    group_id = fixture.group(admin, *others, **fields)
    assert group_id > 0
    group = admin.call("LogicExt.GetGroup", group_id=group_id).group
    found = group.fields()
    assert_equal({key: found[key] for key in fields}, fields)
    assert_equal((group.group_id, group.user_mum), (group_id, 3))
    for stamp in (group.create_time, group.update_time):
        assert abs(stamp - time.time()) < 3600, stamp
    expected = {other.user_id: m.MEMBER for other in others}
    expected[admin.user_id] = m.ADMIN
    for device in (admin, *others):
        assert_equal(roles(device, group_id), expected)
        groups = device.call("LogicExt.GetGroups").groups
        assert_equal([each.group_id for each in groups], [group_id])


@case
def naming_the_creator_or_somebody_twice_counts_once(fixture):
    admin, other = fixture.users(2)
    group_id = fixture.group(admin, other, admin, other)
    assert_equal(roles(admin, group_id), {admin.user_id: m.ADMIN, other.user_id: m.MEMBER})
    assert_equal(admin.call("LogicExt.GetGroup", group_id=group_id).group.user_mum, 2)


@case
def members_are_shown_with_their_profile(fixture):
    admin = fixture.user("The Admin", sex=1, avatar_url="http://a.example/1", extra="e")
    group_id = fixture.group(admin)
    (member,) = admin.call("LogicExt.GetGroupMembers", group_id=group_id).members
    assert_equal((member.nickname, member.sex, member.avatar_url, member.user_extra),
                 ("The Admin", 1, "http://a.example/1", "e"))


@case
def creating_a_group_pushes_nothing(fixture):
    admin, other = fixture.users(2)
    group_id = fixture.group(admin, other)
    assert_equal(admin.send_group(group_id, "first"), 1)
    assert_equal([m.words_of(e) for e in fixture.signed_in(other).sync_all()], ["first"])


@on_both_wires
def a_group_message_reaches_all_members_and_all_their_devices(fixture):
    admin, bob, carol = fixture.users(3)
    tablet = fixture.another_device(admin)
    group_id = fixture.group(admin, bob, carol)
    at_admin, at_tablet, at_bob = fixture.online(admin), fixture.online(tablet), fixture.online(bob)
    admin.send(bob, "between us")
    assert_equal(admin.send_group(group_id, "to all", request_id=5), 2)
    at_tablet.expect_words("between us")
    at_bob.expect_words("between us")
    for session in (at_tablet, at_bob):
        message = session.expect_words("to all")
        assert_equal((message.receiver_type, message.receiver_id, message.seq),
                     (m.TO_GROUP, group_id, 2))
        assert_equal((message.sender.sender_type, message.sender.sender_id, message.status),
                     (m.USER, admin.user_id, m.NORMAL))
    (entry,) = fixture.signed_in(carol).sync_all()
    assert_equal((m.words_of(entry), entry.seq, entry.receiver_type, entry.receiver_id),
                 ("to all", 1, m.TO_GROUP, group_id))
    bob.send_group(group_id, "an answer")
    at_admin.expect_words("an answer")


@case
def a_non_member_may_not_send(fixture):
    admin, stranger = fixture.users(2)
    group_id = fixture.group(admin)
    assert_equal(stranger.send_code(group_id, "let me in", receiver_type=m.TO_GROUP),
                 m.NOT_IN_GROUP)
    assert_equal(fixture.signed_in(admin).sync_all(), [])


@case
def a_missing_group_is_10013(fixture):
    user = fixture.user()
    assert_equal(user.send_code(MISSING_GROUP, "hello?", receiver_type=m.TO_GROUP), m.NO_GROUP)
    for method, fields in (
            ("GetGroup", {}), ("GetGroupMembers", {}), ("UpdateGroup", dict(name="x")),
            ("AddGroupMembers", dict(user_ids=[user.user_id])),
            ("DeleteGroupMember", dict(user_id=user.user_id)),
            ("UpdateGroupMember", dict(user_id=user.user_id, member_type=m.ADMIN))):
        code = user.code("LogicExt." + method, group_id=MISSING_GROUP, **fields)
        assert code == m.NO_GROUP, (method, code)


@on_both_wires
def adding_members_is_pushed_to_everybody_and_returns_existing_members(fixture):
    admin, bob = fixture.user("Ada"), fixture.user()
    carol = fixture.user("Carol", sex=2, avatar_url="http://a.example/c", extra="x")
    group_id = fixture.group(admin, bob)
    sessions = [fixture.online(device) for device in (admin, bob, carol)]
    answer = admin.call("LogicExt.AddGroupMembers", group_id=group_id,
                        user_ids=[bob.user_id, carol.user_id])
    assert_equal(answer.user_ids, [bob.user_id])
    for session in sessions:
        message, payload = session.expect_command(m.ADD_GROUP_MEMBERS)
        assert_equal((message.receiver_type, message.receiver_id, message.seq),
                     (m.TO_GROUP, group_id, 1))
        assert_equal((payload.opt_id, payload.opt_name), (admin.user_id, "Ada"))
        (member,) = payload.members
        assert_equal((member.user_id, member.nickname, member.sex, member.avatar_url,
                      member.user_extra), (carol.user_id, "Carol", 2, "http://a.example/c", "x"))
    assert_equal(set(roles(carol, group_id)), {d.user_id for d in (admin, bob, carol)})
    assert_equal(admin.call("LogicExt.GetGroup", group_id=group_id).group.user_mum, 3)
    carol.send_group(group_id, "thanks")
    sessions[1].expect_words("thanks")


@on_both_wires
def updating_a_group_is_pushed_to_everybody(fixture):
    admin, bob = fixture.user("Ada"), fixture.user()
    group_id = fixture.group(admin, bob)
    sessions = [fixture.online(device) for device in (admin, bob)]
    fields = dict(name="new", avatar_url="http://a.example/n", introduction="about", extra="y")
    admin.call("LogicExt.UpdateGroup", group_id=group_id, **fields)
    for session in sessions:
        message, payload = session.expect_command(m.UPDATE_GROUP)
        assert_equal((message.receiver_type, message.receiver_id), (m.TO_GROUP, group_id))
        assert_equal(payload.fields(), dict(opt_id=admin.user_id, opt_name="Ada", **fields))
    found = bob.call("LogicExt.GetGroup", group_id=group_id).group.fields()
    assert_equal({key: found[key] for key in fields}, fields)


@on_both_wires
def a_removed_member_gets_the_push_and_nothing_after_it(fixture):
    admin, bob, carol = fixture.user("Ada"), fixture.user(), fixture.user()
    group_id = fixture.group(admin, bob, carol)
    sessions = [fixture.online(device) for device in (admin, bob, carol)]
    admin.call("LogicExt.DeleteGroupMember", group_id=group_id, user_id=carol.user_id)
    for session in sessions:
        message, payload = session.expect_command(m.REMOVE_GROUP_MEMBER)
        assert_equal((message.receiver_type, message.receiver_id, message.seq),
                     (m.TO_GROUP, group_id, 1))
        assert_equal(payload.fields(), dict(opt_id=admin.user_id, opt_name="Ada",
                                            deleted_user_id=carol.user_id))
    admin.send_group(group_id, "without carol")
    sessions[1].expect_words("without carol")
    admin.send(carol, "to carol")
    assert_equal(sessions[2].expect_words("to carol").seq, 2)
    assert_equal(carol.send_code(group_id, "hey", receiver_type=m.TO_GROUP), m.NOT_IN_GROUP)
    assert_equal(carol.call("LogicExt.GetGroups").groups, [])
    assert_equal(admin.call("LogicExt.GetGroup", group_id=group_id).group.user_mum, 2)


@case
def a_group_message_that_is_not_kept_is_live_only(fixture):
    admin, bob = fixture.users(2)
    group_id = fixture.group(admin, bob)
    at_bob = fixture.online(bob)
    assert_equal(admin.send_group(group_id, "fleeting", is_persist=False), 0)
    assert_equal(at_bob.expect_words("fleeting").seq, 0)
    assert_equal(at_bob.sync_all(), [])


@on_both_wires
def pushes_of_a_change_carry_the_callers_request_id(fixture):
    admin, bob, carol = fixture.users(3)
    group_id = fixture.group(admin, bob)
    at_admin, at_bob = fixture.online(admin), fixture.online(bob)
    changes = [
        (m.UPDATE_GROUP, "LogicExt.UpdateGroup", dict(name="new")),
        (m.ADD_GROUP_MEMBERS, "LogicExt.AddGroupMembers", dict(user_ids=[carol.user_id])),
        (m.REMOVE_GROUP_MEMBER, "LogicExt.DeleteGroupMember", dict(user_id=carol.user_id)),
    ]
    for number, (code, method, fields) in enumerate(changes, 71):
        admin.call(method, request_id=number, group_id=group_id, **fields)
        for session in (at_admin, at_bob):
            output = session.expect_push_packet()
            message = m.CODEC.decode("MessageSend", output.data).message
            assert_equal((m.command_of(message)[0], output.request_id), (code, number))
    admin.call("LogicExt.UpdateGroup", group_id=group_id, name="newer")
    assert_equal(at_bob.expect_push_packet().request_id, 0)
