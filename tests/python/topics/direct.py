"""One-to-one messages, live."""

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.wire import Unpacked
from gimclient.fixture import assert_bad_request, assert_equal, assert_refused

LARGEST = 60 * 1024


@on_both_wires
def a_message_reaches_every_other_device_of_both_and_not_the_sending_one(fixture):
    alice, bob = fixture.users(2)
    tablet, laptop = fixture.another_device(alice), fixture.another_device(bob)
    at_alice, at_tablet, at_bob, at_laptop = map(fixture.online, (alice, tablet, bob, laptop))
    assert_equal(alice.send(bob, "one"), 1)
    for session in (at_tablet, at_bob, at_laptop):
        assert_equal(session.expect_words("one").seq, 1)
    bob.send(alice, "two")
    for session in (at_alice, at_tablet, at_laptop):
        assert_equal(session.expect_words("two").seq, 2)
    alice.send(bob, "three")
    assert_equal(at_bob.expect_words("three").seq, 3)


@on_both_wires
def a_push_names_the_sender_the_receiver_and_the_content(fixture):
    profile = dict(avatar_url="http://a.example/a.png", extra="x")
    alice, bob = fixture.user("Alice", **profile), fixture.user()
    at_bob = fixture.online(bob)
    draft = alice.draft(bob, "hello", to_user_ids=[7, 8])
    alice.call("LogicExt.SendMessage", **draft)
    output = at_bob.expect_push_packet()
    assert_equal(output.request_id, 0)
    message = m.CODEC.decode("MessageSend", output.data).message
    assert_equal(message.fields(), dict(
        sender=dict(sender_type=m.USER, sender_id=alice.user_id, device_id=alice.device_id,
                    nickname="Alice", **profile),
        receiver_type=m.TO_USER, receiver_id=bob.user_id, to_user_ids=[7, 8],
        message_type=m.TEXT, message_content=m.text("hello"), seq=1,
        send_time=draft["send_time"], status=m.NORMAL))


@case
def the_answer_is_the_seq_of_the_senders_own_copy(fixture):
    alice, bob, carol = fixture.users(3)
    tablet = fixture.online(fixture.another_device(alice))
    carol.send(bob, "bob has one more than alice")
    assert_equal(alice.send(bob, "hi"), 1)
    assert_equal(tablet.expect_words("hi").seq, 1)
    assert_equal([e.seq for e in fixture.signed_in(bob).sync_all()], [1, 2])


@on_both_wires
def a_message_to_oneself_is_one_entry(fixture):
    alice = fixture.user()
    phone, tablet = fixture.online(alice), fixture.online(fixture.another_device(alice))
    assert_equal(alice.send(alice, "a note"), 1)
    assert_equal(tablet.expect_words("a note").seq, 1)
    assert_equal(alice.send(alice, "another"), 2)
    assert_equal(tablet.expect_words("another").seq, 2)
    assert_equal([e.seq for e in phone.sync_all()], [1, 2])


@on_both_wires
def a_message_that_is_not_kept_is_live_only(fixture):
    alice, bob = fixture.users(2)
    at_bob = fixture.online(bob)
    assert_equal(alice.send(bob, "fleeting", is_persist=False), 0)
    assert_equal(at_bob.expect_words("fleeting").seq, 0)
    assert_equal(alice.send(bob, "kept"), 1)
    assert_equal(at_bob.expect_words("kept").seq, 1)
    assert_equal([m.words_of(e) for e in at_bob.sync_all()], ["kept"])


@on_both_wires
def odd_content_survives_to_the_byte(fixture):
    alice, bob = fixture.users(2)
    at_bob = fixture.online(bob)
    contents = [m.text("naïve 🦀 👩‍👩‍👧 𠜎 \0 end"), bytes(range(256)), b"\0", b""]
    for content in contents:
        alice.send(bob, message_type=m.CUSTOM, message_content=content)
        assert_equal(at_bob.expect_push().message_content, content)
    assert_equal([e.message_content for e in at_bob.sync_all()], contents)


@on_both_wires
def sixty_kib_of_content_is_carried_and_one_byte_more_refused(fixture):
    alice, bob = fixture.users(2)
    at_bob = fixture.online(bob)
    content = b"\x5a" * LARGEST
    assert_bad_request(alice.send_code(bob, message_content=content + b"!"))
    assert_equal(alice.send(bob, message_content=content), 1)
    assert_equal(at_bob.expect_push().message_content, content)
    assert_equal([e.message_content for e in at_bob.sync_all()], [content])


@case
def mentions_may_be_packed_or_not(fixture):
    alice, bob = fixture.users(2)
    for ids in ([1, 300, 1 << 40], Unpacked([1, 300, 1 << 40])):
        alice.send(bob, "you", to_user_ids=ids)
    found = [e.to_user_ids for e in fixture.signed_in(bob).sync_all()]
    assert_equal(found, [[1, 300, 1 << 40]] * 2)


@case
def a_receiver_that_is_zero_or_negative_is_a_bad_request(fixture):
    alice = fixture.user()
    for receiver_type in (m.TO_USER, m.TO_GROUP):
        for receiver in (0, -1, -(1 << 63)):
            assert_bad_request(alice.send_code(receiver, "x", receiver_type=receiver_type))


@case
def an_unknown_user_is_10016(fixture):
    alice = fixture.user()
    assert_equal(alice.send_code(987654321, "anybody?"), m.NO_USER)
    assert_equal(alice.send_code((1 << 63) - 1, "anybody?"), m.NO_USER)
    assert_equal(fixture.signed_in(alice).sync_all(), [])


@case
def an_unknown_kind_of_receiver_is_refused(fixture):
    alice, bob = fixture.users(2)
    for receiver_type in (0, 9, -1):
        assert_refused(alice.send_code(bob, "x", receiver_type=receiver_type))


@case
def a_repeat_with_the_same_request_id_is_stored_once(fixture):
    alice, bob = fixture.users(2)
    draft = alice.draft(bob, "once")
    answers = [alice.call("LogicExt.SendMessage", request_id=4711, **draft).seq for _ in range(3)]
    assert_equal(answers, [1, 1, 1])
    assert_equal([m.words_of(e) for e in fixture.signed_in(bob).sync_all()], ["once"])


@case
def a_repeat_without_a_request_id_is_known_by_its_send_time_and_content(fixture):
    alice, bob = fixture.users(2)
    draft = alice.draft(bob, "once")
    answers = [alice.call("LogicExt.SendMessage", **draft).seq for _ in range(2)]
    assert_equal(answers, [1, 1])
    assert_equal(alice.send(bob, "once"), 2)
    assert_equal(len(fixture.signed_in(bob).sync_all()), 2)
