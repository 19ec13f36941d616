"""Offline messages: the inbox from any seq, in order, without gaps, in pages."""

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.fixture import assert_equal

MANY = 120
MOST_PER_PAGE = 50
OLD_CLIENT_BODY = 1022


def words(entries):
    return [m.words_of(entry) for entry in entries]


def assert_counts_from_one(entries):
    assert_equal([entry.seq for entry in entries], list(range(1, len(entries) + 1)))


@on_both_wires
def messages_missed_offline_come_by_sync_in_order(fixture):
    alice, bob = fixture.users(2)
    for n in range(10):
        alice.send(bob, "for you %d" % n)
        bob.send(alice, "own %d" % n)
    found = fixture.signed_in(bob).sync_all()
    assert_counts_from_one(found)
    assert_equal(words(found), [t % n for n in range(10) for t in ("for you %d", "own %d")])
    assert_equal({e.sender.sender_id for e in found}, {alice.user_id, bob.user_id})


@on_both_wires
def sync_from_a_seq_gives_what_is_above_it(fixture):
    alice, bob = fixture.users(2)
    for n in range(1, 8):
        alice.send(bob, "%d" % n)
    session = fixture.signed_in(bob)
    assert_equal(words(session.sync_all(4)), ["5", "6", "7"])
    assert_equal(words(session.sync_all(6)), ["7"])
    assert_equal(session.sync_all(7), [])


@on_both_wires
def sync_above_the_end_is_an_empty_page(fixture):
    alice, bob = fixture.users(2)
    alice.send(bob, "only one")
    page = fixture.signed_in(bob).sync(1000)
    assert_equal((page.messages, page.has_more), ([], False))


@on_both_wires
def many_messages_come_in_pages(fixture):
    alice, bob = fixture.users(2)
    for n in range(MANY):
        alice.send(bob, "%d" % n)
    session = fixture.signed_in(bob)
    pages, seq = [], 0
    while not pages or pages[-1].has_more:
        pages.append(session.sync(seq))
        assert 1 <= len(pages[-1].messages) <= MOST_PER_PAGE, len(pages[-1].messages)
        seq = pages[-1].messages[-1].seq
    assert len(pages) >= 3, len(pages)
    found = [entry for page in pages for entry in page.messages]
    assert_counts_from_one(found)
    assert_equal(words(found), ["%d" % n for n in range(MANY)])


@case
def a_page_for_an_old_tcp_client_is_at_most_1022_bytes_or_one_message(fixture):
    alice, bob = fixture.user("A nickname of some length", extra="e" * 100), fixture.user()
    sizes = (10, 400, 400, 400, 2000, 10, 10, 30_000, 900) + (10,) * 40
    for size in sizes:
        alice.send(bob, "x" * size)
    session = fixture.signed_in(bob, "tcp")
    found, more = [], True
    while more:
        session.largest_body = 0
        page = session.sync(found[-1].seq if found else 0)
        few = len(page.messages) == 1
        assert few or session.largest_body <= OLD_CLIENT_BODY, session.largest_body
        found, more = found + page.messages, page.has_more
    assert_counts_from_one(found)
    assert_equal(len(found), len(sizes))


@on_both_wires
def a_client_that_reads_only_the_first_page_still_gets_the_rest(fixture):
    alice, bob = fixture.users(2)
    for n in range(MANY):
        alice.send(bob, "%d" % n)
    session = fixture.signed_in(bob)
    page = session.sync()
    assert page.has_more
    seen = [entry.seq for entry in page.messages]
    while len(seen) < MANY:
        seen.append(session.expect_push(20).seq)
        session.ack(seen[-1])
    assert_equal(seen, list(range(1, MANY + 1)))


@on_both_wires
def going_online_in_the_middle_of_sends_misses_nothing(fixture):
    alice, bob = fixture.users(2)
    alice.send(bob, "1")
    session = fixture.signed_in(bob)
    alice.send(bob, "2")
    seen = [entry.seq for entry in session.sync_all()]
    alice.send(bob, "3")
    while len(seen) < 3:
        seen.append(session.expect_push().seq)
    assert_equal(seen, [1, 2, 3])


@on_both_wires
def a_new_device_gets_everything_whatever_the_others_acked(fixture):
    alice, bob = fixture.users(2)
    phone = fixture.online(bob)
    for n in range(5):
        alice.send(bob, "%d" % n)
        phone.ack(phone.expect_push().seq)
    phone.heartbeat()
    tablet = fixture.signed_in(fixture.another_device(bob))
    assert_counts_from_one(tablet.sync_all())
    assert_equal(len(phone.sync_all()), 5)


@on_both_wires
def an_ack_is_never_answered(fixture):
    alice, bob = fixture.users(2)
    alice.send(bob, "one")
    session = fixture.online(bob)
    for seq in (1, 1, 0, -3, 1 << 62):
        session.ack(seq, request_id=99)
    request_id = session.post(m.HEARTBEAT)
    reply = session.next_packet()
    assert_equal((reply.type, reply.request_id), (m.HEARTBEAT, request_id))
    assert_counts_from_one(session.sync_all())
    alice.send(bob, "two")
    assert_equal(session.expect_words("two").seq, 2)


@on_both_wires
def sync_shows_the_senders_profile_of_today_and_no_device(fixture):
    alice, bob = fixture.user("before"), fixture.user()
    at_bob = fixture.online(bob)
    alice.send(bob, "hi")
    assert_equal(at_bob.expect_words("hi").sender.nickname, "before")
    alice.call("BusinessExt.UpdateUser", nickname="after", extra="new")
    (entry,) = fixture.signed_in(fixture.another_device(bob)).sync_all()
    assert_equal((entry.sender.nickname, entry.sender.extra), ("after", "new"))
    assert_equal((entry.sender.sender_type, entry.sender.sender_id), (m.USER, alice.user_id))
    assert_equal(entry.sender.device_id, 0)
