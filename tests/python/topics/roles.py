"""Permissions in a group: a member sends, reads, invites and leaves; an admin does the rest."""

from gimclient import messages as m
from gimclient.cases import case
from gimclient.fixture import assert_equal, assert_refused


def role_of(asking, group_id, user_id):
    members = asking.call("LogicExt.GetGroupMembers", group_id=group_id).members
    return {member.user_id: member.member_type for member in members}.get(user_id)


def set_role(device, group_id, user_id, member_type):
    return device.code("LogicExt.UpdateGroupMember", group_id=group_id, user_id=user_id,
                       member_type=member_type)


@case
def a_member_may_not_update_the_group(fixture):
    admin, bob = fixture.users(2)
    group_id = fixture.group(admin, bob, name="before")
    assert_refused(bob.code("LogicExt.UpdateGroup", group_id=group_id, name="bob's"))
    assert_equal(admin.call("LogicExt.GetGroup", group_id=group_id).group.name, "before")
    assert_equal(fixture.signed_in(admin).sync_all(), [])


@case
def a_member_may_not_promote_itself_or_demote_the_admin(fixture):
    admin, bob = fixture.users(2)
    group_id = fixture.group(admin, bob)
    assert_refused(set_role(bob, group_id, bob.user_id, m.ADMIN))
    assert_refused(set_role(bob, group_id, admin.user_id, m.MEMBER))
    assert_equal(role_of(admin, group_id, bob.user_id), m.MEMBER)
    assert_equal(role_of(admin, group_id, admin.user_id), m.ADMIN)


@case
def a_member_may_not_remove_another(fixture):
    admin, bob, carol = fixture.users(3)
    group_id = fixture.group(admin, bob, carol)
    for victim in (carol, admin):
        assert_refused(bob.code("LogicExt.DeleteGroupMember", group_id=group_id,
                                user_id=victim.user_id))
    assert_equal(len(admin.call("LogicExt.GetGroupMembers", group_id=group_id).members), 3)


@case
def a_stranger_may_change_nothing(fixture):
    admin, stranger = fixture.users(2)
    group_id = fixture.group(admin)
    for method, fields in (
            ("UpdateGroup", dict(name="mine")),
            ("AddGroupMembers", dict(user_ids=[stranger.user_id])),
            ("DeleteGroupMember", dict(user_id=admin.user_id)),
            ("UpdateGroupMember", dict(user_id=admin.user_id, member_type=m.MEMBER))):
        assert_refused(stranger.code("LogicExt." + method, group_id=group_id, **fields))
    assert_equal(len(admin.call("LogicExt.GetGroupMembers", group_id=group_id).members), 1)


@case
def a_member_may_invite(fixture):
    admin, bob, carol = fixture.users(3)
    group_id = fixture.group(admin, bob)
    bob.call("LogicExt.AddGroupMembers", group_id=group_id, user_ids=[carol.user_id])
    assert_equal(role_of(admin, group_id, carol.user_id), m.MEMBER)


@case
def a_member_may_leave(fixture):
    admin, bob = fixture.users(2)
    group_id = fixture.group(admin, bob)
    bob.call("LogicExt.DeleteGroupMember", group_id=group_id, user_id=bob.user_id)
    assert_equal(role_of(admin, group_id, bob.user_id), None)


@case
def an_admin_may_change_a_members_role_and_remarks(fixture):
    admin, bob = fixture.users(2)
    group_id = fixture.group(admin, bob, name="before")
    admin.call("LogicExt.UpdateGroupMember", group_id=group_id, user_id=bob.user_id,
               member_type=m.ADMIN, remarks="second in command", extra="x")
    members = admin.call("LogicExt.GetGroupMembers", group_id=group_id).members
    (found,) = [member for member in members if member.user_id == bob.user_id]
    assert_equal((found.member_type, found.remarks, found.extra),
                 (m.ADMIN, "second in command", "x"))
    bob.call("LogicExt.UpdateGroup", group_id=group_id, name="by bob")
    assert_equal(admin.call("LogicExt.GetGroup", group_id=group_id).group.name, "by bob")


@case
def the_last_admin_cannot_leave_while_members_remain(fixture):
    admin, bob = fixture.users(2)
    group_id = fixture.group(admin, bob)
    leave = dict(group_id=group_id, user_id=admin.user_id)
    assert_refused(admin.code("LogicExt.DeleteGroupMember", **leave))
    assert_equal(role_of(bob, group_id, admin.user_id), m.ADMIN)
    assert_equal(set_role(admin, group_id, bob.user_id, m.ADMIN), 0)
    assert_equal(admin.code("LogicExt.DeleteGroupMember", **leave), 0)
    assert_equal(role_of(bob, group_id, admin.user_id), None)
