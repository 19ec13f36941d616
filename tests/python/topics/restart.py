"""Data after the server was stopped or killed and started again."""

from gimclient import messages as m
from gimclient.cases import case
from gimclient.fixture import assert_equal

from .http_ops import png, uploaded_url


def snapshot_of(fixture, devices, group_id):
    """Returns everything that the devices' users can see, as plain data."""
    seen = []
    for device in devices:
        seen.append([e.fields() for e in fixture.signed_in(device).sync_all()])
        for method, fields in (("LogicExt.GetFriends", {}), ("LogicExt.GetGroups", {}),
                               ("LogicExt.GetGroup", dict(group_id=group_id)),
                               ("LogicExt.GetGroupMembers", dict(group_id=group_id)),
                               ("BusinessExt.GetUser", {})):
            seen.append(device.call(method, **fields).fields())
    return seen


def populate(fixture):
    alice, bob = fixture.user("Alice", extra="x"), fixture.user("Bob")
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id, remarks="b")
    bob.call("LogicExt.AgreeAddFriend", user_id=alice.user_id, remarks="a")
    group_id = fixture.group(alice, bob, name="kept")
    for n in range(30):
        alice.send(bob, "direct %d" % n)
        bob.send_group(group_id, "group %d" % n)
    alice.send(bob, message_content=b"\x11" * 60_000)
    return alice, bob, group_id


def assert_same_after(fixture, end):
    alice, bob, group_id = populate(fixture)
    url = uploaded_url(fixture.server, png())
    before = snapshot_of(fixture, (alice, bob), group_id)
    last = before[0][-1]["seq"]
    draft = alice.draft(bob, "answered just before")
    answered = alice.call("LogicExt.SendMessage", request_id=1, **draft).seq
    assert_equal(answered, last + 1)
    end()
    fixture.server.start()
    entries = fixture.signed_in(alice).sync_all()
    assert_equal(m.words_of(entries[-1]), "answered just before")
    assert_equal(entries[-1].seq, answered)
    after = snapshot_of(fixture, (alice, bob), group_id)
    for index in (0, len(after) // 2):
        assert_equal(after[index].pop()["message_content"], m.text("answered just before"))
    assert_equal(after, before)
    assert_equal(fixture.server.get(None, url), (200, png()))
    repeated = alice.call("LogicExt.SendMessage", request_id=1, **draft).seq
    assert_equal(repeated, answered)
    assert_equal(alice.send(bob, "after"), answered + 1)
    assert not fixture.another_device(bob).is_new


@case
def everything_is_there_after_a_stop_and_a_start(fixture):
    assert_same_after(fixture, fixture.server.stop)


@case
def everything_answered_is_there_after_kill_9(fixture):
    assert_same_after(fixture, fixture.server.kill)


@case
def messages_flow_again_after_a_restart(fixture):
    alice, bob = fixture.users(2)
    alice.send(bob, "before")
    session = fixture.online(bob)
    fixture.server.stop()
    session.expect_close()
    fixture.server.start()
    session = fixture.signed_in(bob)
    alice.send(bob, "after")
    assert_equal([m.words_of(e) for e in session.sync_all()], ["before", "after"])
