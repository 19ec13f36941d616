"""Friends: asking, agreeing, the pushes 100 and 101, remarks."""

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.fixture import assert_bad_request, assert_equal


def friends(device):
    found = device.call("LogicExt.GetFriends").friends
    return [(friend.user_id, friend.remarks) for friend in found]


def befriend(asking, asked):
    asking.call("LogicExt.AddFriend", friend_id=asked.user_id, remarks="asked")
    asked.call("LogicExt.AgreeAddFriend", user_id=asking.user_id, remarks="asking")


@on_both_wires
def asking_and_agreeing_make_friends_and_push_100_and_101(fixture):
    alice = fixture.user("Alice", avatar_url="http://a.example/a")
    bob = fixture.user("Bob", avatar_url="http://a.example/b")
    at_alice, at_bob = fixture.online(alice), fixture.online(bob)
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id, remarks="bobby", description="hi?")
    message, payload = at_bob.expect_command(m.ADD_FRIEND)
    assert_equal((message.receiver_type, message.receiver_id, message.seq, message.status),
                 (m.TO_USER, bob.user_id, 1, m.NORMAL))
    assert_equal(payload.fields(), dict(friend_id=alice.user_id, nickname="Alice",
                                        avatar_url="http://a.example/a", description="hi?"))
    assert_equal((friends(alice), friends(bob)), ([], []))
    bob.call("LogicExt.AgreeAddFriend", user_id=alice.user_id, remarks="ally")
    message, payload = at_alice.expect_command(m.AGREE_ADD_FRIEND)
    assert_equal((message.receiver_type, message.receiver_id, message.seq),
                 (m.TO_USER, alice.user_id, 1))
    assert_equal(payload.fields(), dict(friend_id=bob.user_id, nickname="Bob",
                                        avatar_url="http://a.example/b"))
    assert_equal(friends(alice), [(bob.user_id, "bobby")])
    assert_equal(friends(bob), [(alice.user_id, "ally")])
    alice.send(bob, "friends now")
    at_bob.expect_words("friends now")


@case
def a_friend_request_waits_for_an_offline_user(fixture):
    alice, bob = fixture.user("Alice"), fixture.user()
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id, description="later")
    (entry,) = fixture.signed_in(bob).sync_all()
    code, payload = m.command_of(entry)
    assert_equal((entry.seq, code, payload.description), (1, m.ADD_FRIEND, "later"))


@case
def friends_are_listed_with_their_profile(fixture):
    alice = fixture.user()
    bob = fixture.user("Bob", sex=1, avatar_url="http://a.example/b", extra="e")
    befriend(alice, bob)
    (friend,) = alice.call("LogicExt.GetFriends").friends
    assert_equal((friend.nickname, friend.sex, friend.avatar_url, friend.user_extra),
                 ("Bob", 1, "http://a.example/b", "e"))


@case
def remarks_can_be_changed(fixture):
    alice, bob = fixture.users(2)
    befriend(alice, bob)
    fields = dict(friend_id=bob.user_id, remarks="the best", extra="x")
    alice.call("LogicExt.SetFriend", **fields)
    (friend,) = alice.call("LogicExt.GetFriends").friends
    assert_equal((friend.remarks, friend.extra), ("the best", "x"))
    assert_equal(friends(bob), [(alice.user_id, "asking")])


@case
def values_set_while_the_request_is_pending_are_kept(fixture):
    alice, bob = fixture.users(2)
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id, remarks="bobby")
    answer = alice.call("LogicExt.SetFriend", friend_id=bob.user_id, extra="x")
    assert_equal(answer.fields(), dict(friend_id=bob.user_id, remarks="bobby", extra="x"))
    bob.call("LogicExt.AgreeAddFriend", user_id=alice.user_id)
    (friend,) = alice.call("LogicExt.GetFriends").friends
    assert_equal((friend.remarks, friend.extra), ("bobby", "x"))


@case
def setting_a_stranger_as_friend_is_refused(fixture):
    alice, bob = fixture.users(2)
    assert_bad_request(alice.code("LogicExt.SetFriend", friend_id=bob.user_id, remarks="b"))
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id)
    assert_bad_request(bob.code("LogicExt.SetFriend", friend_id=alice.user_id, remarks="a"))


@case
def asking_again_while_the_first_request_waits_pushes_nothing_more(fixture):
    alice, bob = fixture.users(2)
    at_bob = fixture.online(bob)
    for _ in range(2):
        alice.call("LogicExt.AddFriend", friend_id=bob.user_id)
    at_bob.expect_command(m.ADD_FRIEND)
    alice.send(bob, "marker")
    assert_equal(at_bob.expect_words("marker").seq, 2)


@case
def asking_a_friend_is_10015(fixture):
    alice, bob = fixture.users(2)
    befriend(alice, bob)
    assert_equal(alice.code("LogicExt.AddFriend", friend_id=bob.user_id), m.ALREADY_FRIENDS)
    assert_equal(bob.code("LogicExt.AddFriend", friend_id=alice.user_id), m.ALREADY_FRIENDS)


@case
def agreeing_without_a_request_is_a_bad_request(fixture):
    alice, bob = fixture.users(2)
    assert_bad_request(bob.code("LogicExt.AgreeAddFriend", user_id=alice.user_id))
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id)
    assert_bad_request(alice.code("LogicExt.AgreeAddFriend", user_id=bob.user_id))
    assert_equal(friends(alice), [])


@case
def agreeing_twice_succeeds_and_pushes_once(fixture):
    alice, bob = fixture.users(2)
    at_alice = fixture.online(alice)
    befriend(alice, bob)
    bob.call("LogicExt.AgreeAddFriend", user_id=alice.user_id, remarks="asking")
    at_alice.expect_command(m.AGREE_ADD_FRIEND)
    bob.send(alice, "marker")
    at_alice.expect_words("marker")
    assert_equal(friends(bob), [(alice.user_id, "asking")])


@case
def mutual_requests_make_friends(fixture):
    alice, bob = fixture.users(2)
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id, remarks="b")
    assert_equal(bob.code("LogicExt.AddFriend", friend_id=alice.user_id, remarks="a"), 0)
    assert_equal(bob.code("LogicExt.AgreeAddFriend", user_id=alice.user_id, remarks="a"), 0)
    assert_equal(friends(alice), [(bob.user_id, "b")])
    assert_equal(friends(bob), [(alice.user_id, "a")])


@case
def asking_somebody_who_does_not_exist_is_refused(fixture):
    alice = fixture.user()
    assert_equal(alice.code("LogicExt.AddFriend", friend_id=987654321), m.NO_USER)
    for nobody in (0, -1):
        assert_bad_request(alice.code("LogicExt.AddFriend", friend_id=nobody))
