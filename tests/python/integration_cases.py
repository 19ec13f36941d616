"""Cases for gimlet with an external business server."""

import signal
import socket
import time

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.device import call, code_of
from gimclient.fixture import assert_equal
from integration_fixture import AS_BACKEND, BackendUser, eventually

UNAVAILABLE = 14
# Maximum time until a caller gets 14 while the backend does not answer.
ANSWER_SECONDS = 4.0
# Time without calls to the backend, in the case about idle connections.
IDLE_SECONDS = 8.0


def assert_sender_is(message, person):
    """Checks that the sender of a message carries the backend's profile of the user."""
    sender = message.sender
    assert_equal((sender.sender_type, sender.sender_id), (m.USER, person["user_id"]))
    assert_equal((sender.nickname, sender.avatar_url, sender.extra),
                 (person["nickname"], person["avatar_url"], person["extra"]))


def within_seconds(action, seconds):
    began = time.monotonic()
    found = action()
    took = time.monotonic() - began
    assert took < seconds, "took %.1f s, not below %.1f" % (took, seconds)
    return found


# Users and tokens


@on_both_wires
def the_backends_tokens_sign_in(fixture):
    ada = fixture.user()
    assert_equal(fixture.signed_in(ada).heartbeat().code, 0)
    assert_equal(ada.code("LogicExt.GetGroups"), 0)


@on_both_wires
def a_wrong_token_is_10000(fixture):
    ada, ben = fixture.users(2)
    for token in ("", "0", "wrong", ben.token):
        assert_equal(fixture.open(ada).sign_in(ada, token).code, m.UNAUTHORIZED)
        stranger = BackendUser(fixture.server, ada.person)
        stranger.token = token
        assert_equal(stranger.code("LogicExt.GetGroups"), m.UNAUTHORIZED)
    unknown = BackendUser(fixture.server, ada.person)
    unknown.user_id = 7
    assert_equal(fixture.open(unknown).sign_in(unknown).code, m.UNAUTHORIZED)
    assert_equal(fixture.open(ada).sign_in(ada).code, 0)


@case
def a_status_of_16_is_taken_for_10000(fixture):
    ada = fixture.user()
    fixture.backend.say("refuse 16")
    assert_equal(fixture.open(ada).sign_in(ada, "wrong").code, m.UNAUTHORIZED)
    ada.token = "wrong"
    assert_equal(ada.code("LogicExt.GetGroups"), m.UNAUTHORIZED)


@case
def a_revoked_token_ends_with_disconnect(fixture):
    ada, ben = fixture.users(2)
    session = fixture.online(ada)
    fixture.backend.say("revoke %d" % ada.user_id)
    assert_equal(ada.code("LogicExt.GetGroups"), m.UNAUTHORIZED)
    fixture.internal("LogicInt.Disconnect", user_id=ada.user_id)
    session.expect_close()
    assert_equal(fixture.open(ada).sign_in(ada).code, m.UNAUTHORIZED)
    assert_equal(ben.code("LogicExt.GetGroups"), 0)


# Messages and profiles


@on_both_wires
def messages_show_the_backends_profile_live_and_in_sync(fixture):
    ada, ben = fixture.users(2)
    live, own = fixture.online(ben), fixture.online(fixture.another_device(ada))
    ada.send(ben, "hello")
    for session in (live, own):
        assert_sender_is(session.expect_words("hello"), ada.person)
    found = fixture.signed_in(fixture.another_device(ben)).sync_all()
    assert_equal([m.words_of(each) for each in found], ["hello"])
    assert_sender_is(found[0], ada.person)


@case
def a_changed_profile_is_seen_soon(fixture):
    ada, ben = fixture.users(2)
    ada.send(ben, "hello")
    session = fixture.signed_in(ben)
    assert_equal(session.sync_all()[0].sender.nickname, ada.person["nickname"])
    fixture.backend.say("rename %d Ada the Second" % ada.user_id)
    eventually(lambda: session.sync_all()[0].sender.nickname == "Ada the Second")


@case
def an_unknown_receiver_is_10016(fixture):
    ada = fixture.user()
    assert_equal(ada.send_code(7, "hello"), m.NO_USER)


@case
def groups_and_friends_show_the_backends_users(fixture):
    ada, ben = fixture.users(2)
    members = ada.call("LogicExt.GetGroupMembers", group_id=fixture.group(ada, ben)).members
    shown = {each.user_id: (each.nickname, each.sex, each.avatar_url, each.user_extra)
             for each in members}
    wanted = {p["user_id"]: (p["nickname"], p["sex"], p["avatar_url"], p["extra"])
              for p in (ada.person, ben.person)}
    assert_equal(shown, wanted)
    live = fixture.online(ben)
    ada.call("LogicExt.AddFriend", friend_id=ben.user_id)
    _, push = live.expect_command(m.ADD_FRIEND)
    assert_equal((push.friend_id, push.nickname), (ada.user_id, ada.person["nickname"]))
    ben.call("LogicExt.AgreeAddFriend", user_id=ada.user_id)
    (friend,) = ada.call("LogicExt.GetFriends").friends
    assert_equal((friend.user_id, friend.nickname), (ben.user_id, ben.person["nickname"]))


@case
def the_backend_sends_in_its_own_name(fixture):
    ada = fixture.user()
    live = fixture.online(ada)
    seq = fixture.internal("LogicInt.SendMessage", **ada.draft(ada, "your parcel is here")).seq
    message = live.expect_words("your parcel is here")
    assert_equal((message.seq, message.sender.sender_type), (seq, m.BUSINESS))


# gimlet's own business service


@case
def the_built_in_business_service_is_not_served(fixture):
    ada = fixture.user()
    for service in ("BusinessExt", "UserExt"):
        code = code_of(call, fixture.server.logic, service + ".SignIn", phone_number="13800000001",
                       code="000000", device_id=ada.device_id)
        assert_equal(code, m.UNIMPLEMENTED)
        assert_equal(ada.code(service + ".GetUser", user_id=ada.user_id), m.UNIMPLEMENTED)
    for method in ("BusinessInt.GetUser", "BusinessInt.GetUsers", "UserInt.Auth"):
        assert_equal(fixture.internal_code(method), m.UNIMPLEMENTED)


def assert_users_unknown(gimlet, backend):
    """Starts gimlet with all roles on the same storage and checks that it has none of the users."""
    gimlet.with_own_users = True
    gimlet.start()
    try:
        asked = [{"key": person["user_id"]} for person in backend.users]
        answer = call(gimlet.internal, "BusinessInt.GetUsers", AS_BACKEND, user_ids=asked)
        assert_equal(answer.users, [])
    finally:
        gimlet.stop()


@case
def an_idle_connection_to_the_backend_is_kept(fixture):
    """gRPC servers close connections that send unnecessary pings; grpcio does after a few."""
    ada = fixture.user()
    assert_equal(ada.code("LogicExt.GetGroups"), 0)
    before = fixture.backend.ask("peers")
    time.sleep(IDLE_SECONDS)
    assert_equal(ada.code("LogicExt.GetGroups"), 0)
    assert_equal(fixture.backend.ask("peers"), before)


# A backend that is slow, down or sends invalid answers


def assert_connection_works(fixture, session):
    """Checks that an existing connection is answered, reads its inbox, and gets pushes."""
    session.heartbeat(timeout=ANSWER_SECONDS)
    entries = within_seconds(session.sync_all, ANSWER_SECONDS)
    assert_equal([m.words_of(each) for each in entries], ["before"])
    words = "live %d" % time.monotonic_ns()
    fixture.internal("LogicInt.PushAll", message_type=m.TEXT, message_content=m.text(words))
    while m.words_of(session.expect_push(ANSWER_SECONDS)) != words:
        pass


def assert_sign_in_unavailable_and_connection_works(fixture, ada, session):
    signed_in = within_seconds(lambda: fixture.open(ada).sign_in(ada).code, ANSWER_SECONDS)
    assert_equal(signed_in, UNAVAILABLE)
    called = within_seconds(lambda: ada.code("LogicExt.GetGroups"), ANSWER_SECONDS)
    assert_equal(called, UNAVAILABLE)
    assert_connection_works(fixture, session)


def assert_recovered(fixture, ada, ben, session):
    """Checks that sign-in, sends and names recover by themselves within ten seconds."""
    eventually(lambda: fixture.open(ada).sign_in(ada).code == 0)
    eventually(lambda: ada.send_code(ben, "again") == 0)
    while m.words_of(message := session.expect_push()) != "again":
        pass
    eventually(lambda: session.sync_all()[-1].sender.nickname == ada.person["nickname"])
    assert_equal(message.sender.sender_id, ada.user_id)


def assert_survives_fault(fixture, begin, end):
    ada, ben = fixture.users(2)
    session = fixture.online(ben)
    ada.send(ben, "before")
    session.expect_words("before")
    begin()
    assert_sign_in_unavailable_and_connection_works(fixture, ada, session)
    end()
    assert_recovered(fixture, ada, ben, session)


@on_both_wires
def a_slow_backend_is_14_and_no_connection_ends(fixture):
    assert_survives_fault(fixture, lambda: fixture.backend.say("slow 30000"),
                          lambda: fixture.backend.say("normal"))


@on_both_wires
def a_killed_backend_is_14_and_no_connection_ends(fixture):
    assert_survives_fault(fixture, fixture.backend.kill, fixture.backend.start)


@case
def a_frozen_backend_is_14_and_no_connection_ends(fixture):
    process = fixture.backend.process
    try:
        assert_survives_fault(fixture, lambda: process.send_signal(signal.SIGSTOP),
                              lambda: process.send_signal(signal.SIGCONT))
    finally:
        process.send_signal(signal.SIGCONT)


@case
def an_unresponsive_host_is_14_and_no_connection_ends(fixture):
    """The host accepts connections and never answers."""
    listeners = []

    def freeze():
        fixture.backend.kill()
        listener = socket.create_server(fixture.backend.address)
        listeners.append(listener)

    def thaw():
        listeners.pop().close()
        fixture.backend.start()

    assert_survives_fault(fixture, freeze, thaw)


@case
def undecodable_answers_are_14(fixture):
    assert_survives_fault(fixture, lambda: fixture.backend.say("invalid garbage"),
                          lambda: fixture.backend.say("normal"))


@case
def a_wrong_secret_is_14_and_not_a_wrong_token(fixture):
    def begin():
        fixture.backend.kill()
        fixture.backend.start(secret="another secret")

    def end():
        fixture.backend.kill()
        fixture.backend.start()

    assert_survives_fault(fixture, begin, end)


@case
def a_status_other_than_10000_and_16_is_14(fixture):
    ada = fixture.user()
    ada.token = "wrong"
    for status in (2, 5, 7, 8, 13, 10001):
        fixture.backend.say("refuse %d" % status)
        assert_equal((status, fixture.open(ada).sign_in(ada).code), (status, UNAVAILABLE))


@case
def unrequested_users_invalidate_the_answer(fixture):
    """Such an answer is neither shown nor taken as "unknown user"."""
    ada, ben = fixture.users(2)
    fixture.backend.say("invalid unrequested")
    assert_equal(ada.send_code(ben, "hello"), UNAVAILABLE)
    fixture.backend.say("normal")
    eventually(lambda: ada.send_code(ben, "hello") == 0)
    (message,) = fixture.signed_in(ben).sync_all()
    assert_sender_is(message, ada.person)


@case
def a_huge_profile_is_cut_and_the_message_arrives(fixture):
    ada, ben = fixture.users(2)
    live = fixture.online(ben)
    fixture.backend.say("invalid huge")
    words = "x" * 60_000
    ada.send(ben, words)
    message = live.expect_words(words)
    assert_equal(message.sender.sender_id, ada.user_id)
    assert len(message.sender.nickname) < 2_000, len(message.sender.nickname)
    assert_equal(message.sender.extra, "")


@case
def a_send_to_a_receiver_that_cannot_be_looked_up_is_14(fixture):
    """With the backend down, gimlet cannot look up the receiver: it answers 14 and stores nothing."""
    ada = fixture.user()
    fixture.backend.kill()
    draft = ada.draft(ada, "lost?")
    code = within_seconds(lambda: fixture.internal_code("LogicInt.SendMessage", **draft),
                          ANSWER_SECONDS)
    assert_equal(code, UNAVAILABLE)
    fixture.backend.start()
    assert_equal(fixture.signed_in(ada).sync_all(), [])


@case
def calls_to_gimlet_need_the_secret(fixture):
    code = code_of(call, fixture.server.internal, "LogicInt.PushAll", message_type=m.TEXT)
    assert code != 0, "LogicInt was called without the secret"
