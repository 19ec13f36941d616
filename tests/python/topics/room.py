"""Rooms: live messages to subscribers, a short history, nothing in SYNC."""

import itertools
import time

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.fixture import assert_equal

_rooms = itertools.count(7001)


def new_room():
    return next(_rooms)


@on_both_wires
def a_room_message_reaches_every_subscriber_the_pusher_too(fixture):
    alice, bob, outside = fixture.user("Alice"), fixture.user(), fixture.user()
    room = new_room()
    sessions = [fixture.online(alice), fixture.online(bob)]
    for session in sessions:
        session.subscribe(room)
    alice.push_room(room, "one")
    outside.push_room(room, "two")
    for session in sessions:
        output = session.expect_push_packet()
        assert_equal(output.request_id, 0)
        message = m.CODEC.decode("MessageSend", output.data).message
        assert_equal((m.words_of(message), message.seq), ("one", 1))
        assert_equal((message.receiver_type, message.receiver_id, message.status),
                     (m.TO_ROOM, room, 0))
        assert_equal((message.sender.sender_type, message.sender.sender_id,
                      message.sender.nickname), (m.USER, alice.user_id, "Alice"))
        assert abs(message.send_time / 1000 - time.time()) < 3600, message.send_time
        assert_equal(session.expect_words("two").seq, 2)


@on_both_wires
def history_starts_with_the_seq_that_was_asked_for(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    for n in range(1, 6):
        alice.push_room(room, "%d" % n)
    session = fixture.online(bob)
    session.subscribe(room, 3)
    for n in (3, 4, 5):
        output = session.expect_push_packet()
        assert_equal(output.request_id, 0)
        message = m.CODEC.decode("MessageSend", output.data).message
        assert_equal((m.words_of(message), message.seq), ("%d" % n, n))
    alice.push_room(room, "live")
    assert_equal(session.expect_words("live").seq, 6)


@on_both_wires
def seq_zero_is_live_only(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    alice.push_room(room, "before")
    session = fixture.online(bob)
    session.subscribe(room, 0)
    alice.push_room(room, "after")
    assert_equal(session.expect_words("after").seq, 2)


@case
def a_room_message_that_is_not_kept_takes_a_number_and_leaves_no_history(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    alice.push_room(room, "kept")
    alice.push_room(room, "fleeting", keep=False)
    alice.push_room(room, "kept too")
    session = fixture.online(bob)
    session.subscribe(room, 1)
    assert_equal(session.expect_words("kept").seq, 1)
    assert_equal(session.expect_words("kept too").seq, 3)


@on_both_wires
def subscribing_to_another_room_moves(fixture):
    alice, bob = fixture.users(2)
    first, second = new_room(), new_room()
    session = fixture.online(bob)
    session.subscribe(first)
    session.subscribe(second)
    alice.push_room(first, "left behind")
    alice.push_room(second, "here")
    session.expect_words("here")
    session.subscribe(first)
    alice.push_room(second, "left behind too")
    alice.push_room(first, "back again")
    session.expect_words("back again")


@on_both_wires
def subscribing_to_the_same_room_again_changes_nothing(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    session = fixture.online(bob)
    session.subscribe(room)
    session.subscribe(room)
    alice.push_room(room, "once")
    alice.push_room(room, "then this")
    assert_equal(session.expect_words("once").seq, 1)
    assert_equal(session.expect_words("then this").seq, 2)


@on_both_wires
def room_zero_unsubscribes(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    session = fixture.online(bob)
    session.subscribe(room)
    alice.push_room(room, "heard")
    session.expect_words("heard")
    session.subscribe(0)
    alice.push_room(room, "unheard")
    alice.send(bob, "marker")
    session.expect_words("marker")


@on_both_wires
def a_room_message_is_not_part_of_sync(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    session = fixture.online(bob)
    session.subscribe(room)
    alice.push_room(room, "in the room")
    session.expect_words("in the room")
    assert_equal(session.sync_all(), [])
    assert_equal(fixture.signed_in(alice).sync_all(), [])


@on_both_wires
def acking_room_numbers_does_not_disturb_sync(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    session = fixture.online(bob)
    session.subscribe(room)
    for n in range(1, 9):
        alice.push_room(room, "%d" % n)
        session.ack(session.expect_words("%d" % n).seq)
    session.heartbeat()
    session.close()
    for n in range(1, 6):
        alice.send(bob, "mail %d" % n)
    session = fixture.signed_in(bob)
    found = session.sync_all()
    assert_equal([e.seq for e in found], [1, 2, 3, 4, 5])
    alice.send(bob, "mail 6")
    assert_equal(session.expect_words("mail 6").seq, 6)


@on_both_wires
def a_subscription_ends_with_its_connection(fixture):
    alice, bob = fixture.users(2)
    room = new_room()
    session = fixture.online(bob)
    session.subscribe(room)
    session.close()
    session = fixture.online(bob)
    alice.push_room(room, "unheard")
    alice.send(bob, "marker")
    session.expect_words("marker")


@case
def pushing_to_an_empty_room_succeeds(fixture):
    fixture.user().push_room(new_room(), "echo")
