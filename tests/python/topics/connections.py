"""Two connections of one device, late closes, and a device that changes users."""

from gimclient import messages as m
from gimclient.cases import on_both_wires
from gimclient.fixture import assert_equal


def assert_silent(session):
    """A superseded connection of an old client is open and has got no push.

    Called after a later message reached its successor. The protocol does not say whether it
    still answers heartbeats, so one is sent and half a second is given to whatever comes.
    """
    session.post(m.HEARTBEAT)
    for output in session.arrived(0.5):
        assert output.type != m.MESSAGE, output


@on_both_wires
def only_the_newest_connection_of_a_device_gets_pushes(fixture):
    alice, bob = fixture.users(2)
    older = fixture.online(bob)
    alice.send(bob, "to the older")
    older.expect_words("to the older")
    newer = fixture.online(bob)
    alice.send(bob, "to the newer")
    newer.expect_words("to the newer")
    alice.send(bob, "and again")
    newer.expect_words("and again")
    assert_silent(older)


@on_both_wires
def closing_the_older_connection_does_not_unregister_the_newer(fixture):
    alice, bob = fixture.users(2)
    older = fixture.online(bob)
    newer = fixture.online(bob)
    alice.send(bob, "one")
    newer.expect_words("one")
    older.close()
    for words in ("two", "three", "four"):
        alice.send(bob, words)
        newer.expect_words(words)
        newer.heartbeat()


@on_both_wires
def a_reconnect_after_a_hang_up_gets_what_was_missed_and_then_live(fixture):
    alice, bob = fixture.users(2)
    session = fixture.online(bob)
    alice.send(bob, "one")
    assert_equal(session.expect_words("one").seq, 1)
    session.close()
    alice.send(bob, "two")
    session = fixture.signed_in(bob)
    assert_equal([m.words_of(e) for e in session.sync_all(1)], ["two"])
    alice.send(bob, "three")
    assert_equal(session.expect_words("three").seq, 3)


@on_both_wires
def two_devices_of_a_user_do_not_supersede_each_other(fixture):
    alice, bob = fixture.users(2)
    phone, tablet = fixture.online(bob), fixture.online(fixture.another_device(bob))
    for words in ("one", "two"):
        alice.send(bob, words)
        phone.expect_words(words)
        tablet.expect_words(words)


@on_both_wires
def a_device_that_changed_hands_gets_only_its_new_owners_messages(fixture):
    alice, bob = fixture.users(2)
    former = fixture.online(bob)
    alice.send(bob, "for bob")
    former.expect_words("for bob")
    bobs_id, device = bob.user_id, bob
    device.sign_in(phone=fixture.new_phone())
    assert device.user_id != bobs_id
    session = fixture.online(device)
    alice.send(bobs_id, "still for bob")
    alice.send(device.user_id, "for the new owner")
    assert_equal(session.expect_words("for the new owner").seq, 1)
    assert_silent(former)


@on_both_wires
def the_previous_owners_token_for_a_device_is_revoked(fixture):
    bob = fixture.user()
    former = (bob.user_id, bob.token)
    bob.sign_in(phone=fixture.new_phone())
    current = (bob.user_id, bob.token)
    bob.user_id, bob.token = former
    assert_equal(bob.code("LogicExt.GetGroups"), m.UNAUTHORIZED)
    assert_equal(fixture.open(bob).sign_in(bob).code, m.UNAUTHORIZED)
    bob.user_id, bob.token = current
    assert_equal(bob.code("LogicExt.GetGroups"), 0)
