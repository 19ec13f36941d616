"""What is left after the server was stopped, or killed, and started again."""

from gimclient import messages as m
from gimclient.cases import case
from gimclient.world import assert_equal

from .http_ops import png, uploaded_url


def picture_of(w, devices, group_id):
    """Everything the devices' users can see, as plain data."""
    seen = []
    for device in devices:
        seen.append([e.fields() for e in w.signed_in(device).sync_all()])
        for method, fields in (("LogicExt.GetFriends", {}), ("LogicExt.GetGroups", {}),
                               ("LogicExt.GetGroup", dict(group_id=group_id)),
                               ("LogicExt.GetGroupMembers", dict(group_id=group_id)),
                               ("BusinessExt.GetUser", {})):
            seen.append(device.call(method, **fields).fields())
    return seen


def furnish(w):
    alice, bob = w.user("Alice", extra="x"), w.user("Bob")
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id, remarks="b")
    bob.call("LogicExt.AgreeAddFriend", user_id=alice.user_id, remarks="a")
    group_id = w.group(alice, bob, name="kept")
    for n in range(30):
        alice.send(bob, "direct %d" % n)
        bob.send_group(group_id, "group %d" % n)
    alice.send(bob, message_content=b"\x11" * 60_000)
    return alice, bob, group_id


def assert_same_after(w, end):
    alice, bob, group_id = furnish(w)
    url = uploaded_url(w.server, png())
    before = picture_of(w, (alice, bob), group_id)
    last = before[0][-1]["seq"]
    draft = alice.draft(bob, "answered just before")
    answered = alice.call("LogicExt.SendMessage", request_id=1, **draft).seq
    assert_equal(answered, last + 1)
    end()
    w.server.start()
    entries = w.signed_in(alice).sync_all()
    assert_equal(m.words_of(entries[-1]), "answered just before")
    assert_equal(entries[-1].seq, answered)
    after = picture_of(w, (alice, bob), group_id)
    for index in (0, len(after) // 2):
        assert_equal(after[index].pop()["message_content"], m.text("answered just before"))
    assert_equal(after, before)
    assert_equal(w.server.get(None, url), (200, png()))
    repeated = alice.call("LogicExt.SendMessage", request_id=1, **draft).seq
    assert_equal(repeated, answered)
    assert_equal(alice.send(bob, "after"), answered + 1)
    assert not w.another_device(bob).is_new


@case
def everything_is_there_after_a_stop_and_a_start(w):
    assert_same_after(w, w.server.stop)


@case
def everything_answered_is_there_after_kill_9(w):
    assert_same_after(w, w.server.kill)


@case
def messages_flow_again_after_a_restart(w):
    alice, bob = w.users(2)
    alice.send(bob, "before")
    session = w.online(bob)
    w.server.stop()
    session.expect_close()
    w.server.start()
    session = w.signed_in(bob)
    alice.send(bob, "after")
    assert_equal([m.words_of(e) for e in session.sync_all()], ["before", "after"])
