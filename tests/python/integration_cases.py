"""What must hold while a foreign business server stands behind gimlet."""

import signal
import socket
import time

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.device import call, code_of
from gimclient.world import assert_equal
from integration_world import AS_BACKEND, Guest, eventually

UNAVAILABLE = 14
# The longest a caller may wait for "14" while the backend does not answer.
QUICKLY = 4.0
# How long nothing is asked, in the case about that.
IDLE = 8.0


def shown_as(message, person):
    """The sender of a message carries what the backend says of the person."""
    sender = message.sender
    assert_equal((sender.sender_type, sender.sender_id), (m.USER, person["user_id"]))
    assert_equal((sender.nickname, sender.avatar_url, sender.extra),
                 (person["nickname"], person["avatar_url"], person["extra"]))


def takes(action, seconds):
    began = time.monotonic()
    found = action()
    took = time.monotonic() - began
    assert took < seconds, "took %.1f s, not below %.1f" % (took, seconds)
    return found


# People and tokens


@on_both_wires
def the_backends_tokens_sign_in(world):
    ada = world.user()
    assert_equal(world.signed_in(ada).heartbeat().code, 0)
    assert_equal(ada.code("LogicExt.GetGroups"), 0)


@on_both_wires
def a_wrong_token_is_10000(world):
    ada, ben = world.users(2)
    for token in ("", "0", "wrong", ben.token):
        assert_equal(world.open(ada).sign_in(ada, token).code, m.UNAUTHORIZED)
        stranger = Guest(world.server, ada.person)
        stranger.token = token
        assert_equal(stranger.code("LogicExt.GetGroups"), m.UNAUTHORIZED)
    unknown = Guest(world.server, ada.person)
    unknown.user_id = 7
    assert_equal(world.open(unknown).sign_in(unknown).code, m.UNAUTHORIZED)
    assert_equal(world.open(ada).sign_in(ada).code, 0)


@case
def a_status_of_16_is_taken_for_10000(world):
    ada = world.user()
    world.backend.say("refuse 16")
    assert_equal(world.open(ada).sign_in(ada, "wrong").code, m.UNAUTHORIZED)
    ada.token = "wrong"
    assert_equal(ada.code("LogicExt.GetGroups"), m.UNAUTHORIZED)


@case
def a_revoked_token_ends_with_disconnect(world):
    ada, ben = world.users(2)
    session = world.online(ada)
    world.backend.say("revoke %d" % ada.user_id)
    assert_equal(ada.code("LogicExt.GetGroups"), m.UNAUTHORIZED)
    world.internal("LogicInt.Disconnect", user_id=ada.user_id)
    session.expect_close()
    assert_equal(world.open(ada).sign_in(ada).code, m.UNAUTHORIZED)
    assert_equal(ben.code("LogicExt.GetGroups"), 0)


# Messages and profiles


@on_both_wires
def messages_show_the_backends_profile_live_and_in_sync(world):
    ada, ben = world.users(2)
    live, own = world.online(ben), world.online(world.another_device(ada))
    ada.send(ben, "hello")
    for session in (live, own):
        shown_as(session.expect_words("hello"), ada.person)
    found = world.signed_in(world.another_device(ben)).sync_all()
    assert_equal([m.words_of(each) for each in found], ["hello"])
    shown_as(found[0], ada.person)


@case
def a_changed_profile_is_seen_soon(world):
    ada, ben = world.users(2)
    ada.send(ben, "hello")
    session = world.signed_in(ben)
    assert_equal(session.sync_all()[0].sender.nickname, ada.person["nickname"])
    world.backend.say("rename %d Ada the Second" % ada.user_id)
    eventually(lambda: session.sync_all()[0].sender.nickname == "Ada the Second")


@case
def an_unknown_receiver_is_10016(world):
    ada = world.user()
    assert_equal(ada.send_code(7, "hello"), m.NO_USER)


@case
def groups_and_friends_show_the_backends_users(world):
    ada, ben = world.users(2)
    members = ada.call("LogicExt.GetGroupMembers", group_id=world.group(ada, ben)).members
    shown = {each.user_id: (each.nickname, each.sex, each.avatar_url, each.user_extra)
             for each in members}
    wanted = {p["user_id"]: (p["nickname"], p["sex"], p["avatar_url"], p["extra"])
              for p in (ada.person, ben.person)}
    assert_equal(shown, wanted)
    live = world.online(ben)
    ada.call("LogicExt.AddFriend", friend_id=ben.user_id)
    _, push = live.expect_command(m.ADD_FRIEND)
    assert_equal((push.friend_id, push.nickname), (ada.user_id, ada.person["nickname"]))
    ben.call("LogicExt.AgreeAddFriend", user_id=ada.user_id)
    (friend,) = ada.call("LogicExt.GetFriends").friends
    assert_equal((friend.user_id, friend.nickname), (ben.user_id, ben.person["nickname"]))


@case
def the_backend_sends_in_its_own_name(world):
    ada = world.user()
    live = world.online(ada)
    seq = world.internal("LogicInt.SendMessage", **ada.draft(ada, "your parcel is here")).seq
    message = live.expect_words("your parcel is here")
    assert_equal((message.seq, message.sender.sender_type), (seq, m.BUSINESS))


# gimlet's own business service


@case
def the_built_in_business_service_is_not_served(world):
    ada = world.user()
    for service in ("BusinessExt", "UserExt"):
        code = code_of(call, world.server.logic, service + ".SignIn", phone_number="13800000001",
                       code="000000", device_id=ada.device_id)
        assert_equal(code, m.UNIMPLEMENTED)
        assert_equal(ada.code(service + ".GetUser", user_id=ada.user_id), m.UNIMPLEMENTED)
    for method in ("BusinessInt.GetUser", "BusinessInt.GetUsers", "UserInt.Auth"):
        assert_equal(world.internal_code(method), m.UNIMPLEMENTED)


def nobody_is_known(gimlet, backend):
    """The same storage under a gimlet with all roles: not one of the users is there."""
    gimlet.alone = True
    gimlet.start()
    try:
        asked = [{"key": person["user_id"]} for person in backend.users]
        answer = call(gimlet.internal, "BusinessInt.GetUsers", AS_BACKEND, user_ids=asked)
        assert_equal(answer.users, [])
    finally:
        gimlet.stop()


@case
def an_idle_connection_to_the_backend_is_kept(world):
    """gRPC servers hang up on callers that ping them without need, grpcio after a few pings."""
    ada = world.user()
    assert_equal(ada.code("LogicExt.GetGroups"), 0)
    before = world.backend.ask("peers")
    time.sleep(IDLE)
    assert_equal(ada.code("LogicExt.GetGroups"), 0)
    assert_equal(world.backend.ask("peers"), before)


# Slow, down, nonsense


def gimlet_lives(world, session):
    """A connection that was there before: it is answered, reads its inbox, and gets pushes."""
    session.heartbeat(timeout=QUICKLY)
    assert_equal([m.words_of(each) for each in takes(session.sync_all, QUICKLY)], ["before"])
    words = "live %d" % time.monotonic_ns()
    world.internal("LogicInt.PushAll", message_type=m.TEXT, message_content=m.text(words))
    while m.words_of(session.expect_push(QUICKLY)) != words:
        pass


def sign_in_is_14_and_what_is_there_stays(world, ada, session):
    assert_equal(takes(lambda: world.open(ada).sign_in(ada).code, QUICKLY), UNAVAILABLE)
    assert_equal(takes(lambda: ada.code("LogicExt.GetGroups"), QUICKLY), UNAVAILABLE)
    gimlet_lives(world, session)


def all_is_well_again(world, ada, ben, session):
    """By itself, within ten seconds: sign-in, a send, and the names."""
    eventually(lambda: world.open(ada).sign_in(ada).code == 0)
    eventually(lambda: ada.send_code(ben, "again") == 0)
    while m.words_of(message := session.expect_push()) != "again":
        pass
    eventually(lambda: session.sync_all()[-1].sender.nickname == ada.person["nickname"])
    assert_equal(message.sender.sender_id, ada.user_id)


def trouble(world, begin, end):
    ada, ben = world.users(2)
    session = world.online(ben)
    ada.send(ben, "before")
    session.expect_words("before")
    begin()
    sign_in_is_14_and_what_is_there_stays(world, ada, session)
    end()
    all_is_well_again(world, ada, ben, session)


@on_both_wires
def a_slow_backend_is_14_and_no_connection_ends(world):
    trouble(world, lambda: world.backend.say("slow 30000"), lambda: world.backend.say("well"))


@on_both_wires
def a_killed_backend_is_14_and_no_connection_ends(world):
    trouble(world, world.backend.kill, world.backend.start)


@case
def a_frozen_backend_is_14_and_no_connection_ends(world):
    process = world.backend.process
    try:
        trouble(world, lambda: process.send_signal(signal.SIGSTOP),
                lambda: process.send_signal(signal.SIGCONT))
    finally:
        process.send_signal(signal.SIGCONT)


@case
def a_deaf_host_is_14_and_no_connection_ends(world):
    """The address answers to connections and to nothing else."""
    deaf = []

    def freeze():
        world.backend.kill()
        listener = socket.create_server(world.backend.address)
        deaf.append(listener)

    def thaw():
        deaf.pop().close()
        world.backend.start()

    trouble(world, freeze, thaw)


@case
def bytes_that_are_no_answer_are_14(world):
    trouble(world, lambda: world.backend.say("nonsense garbage"), lambda: world.backend.say("well"))


@case
def a_wrong_secret_is_14_and_not_a_wrong_token(world):
    def begin():
        world.backend.kill()
        world.backend.start(secret="another secret")

    def end():
        world.backend.kill()
        world.backend.start()

    trouble(world, begin, end)


@case
def a_status_that_says_nothing_of_the_token_is_14(world):
    ada = world.user()
    ada.token = "wrong"
    for status in (2, 5, 7, 8, 13, 10001):
        world.backend.say("refuse %d" % status)
        assert_equal((status, world.open(ada).sign_in(ada).code), (status, UNAVAILABLE))


@case
def users_nobody_asked_for_are_no_answer(world):
    """Neither shown nor taken for "there is no such user"."""
    ada, ben = world.users(2)
    world.backend.say("nonsense strangers")
    assert_equal(ada.send_code(ben, "hello"), UNAVAILABLE)
    world.backend.say("well")
    eventually(lambda: ada.send_code(ben, "hello") == 0)
    (message,) = world.signed_in(ben).sync_all()
    shown_as(message, ada.person)


@case
def a_huge_profile_is_cut_and_the_message_arrives(world):
    ada, ben = world.users(2)
    live = world.online(ben)
    world.backend.say("nonsense huge")
    words = "x" * 60_000
    ada.send(ben, words)
    message = live.expect_words(words)
    assert_equal(message.sender.sender_id, ada.user_id)
    assert len(message.sender.nickname) < 2_000, len(message.sender.nickname)
    assert_equal(message.sender.extra, "")


@case
def a_send_in_the_name_of_the_backend_needs_no_profile_of_its_own(world):
    """With the backend down, a receiver that gimlet cannot look up is 14: nothing was stored."""
    ada = world.user()
    world.backend.kill()
    code = takes(lambda: world.internal_code("LogicInt.SendMessage", **ada.draft(ada, "lost?")),
                 QUICKLY)
    assert_equal(code, UNAVAILABLE)
    world.backend.start()
    assert_equal(world.signed_in(ada).sync_all(), [])


@case
def the_secret_is_asked_of_whoever_calls_gimlet(world):
    code = code_of(call, world.server.internal, "LogicInt.PushAll", message_type=m.TEXT)
    assert code != 0, "LogicInt was called without the secret"
