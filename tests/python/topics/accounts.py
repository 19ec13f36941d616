"""Devices, sign-in by phone number, profiles and search."""

import copy
import time

from gimclient import messages as m
from gimclient.cases import case, on_both_wires
from gimclient.device import Device, Refused, call, code_of, register
from gimclient.fixture import assert_bad_request, assert_equal


@case
def registering_a_device_gives_a_new_id_each_time(fixture):
    first, second = register(fixture.server), register(fixture.server)
    assert first > 0 and second > 0 and first != second, (first, second)


@case
def registering_a_device_with_an_empty_field_is_a_bad_request(fixture):
    assert_bad_request(code_of(register, fixture.server, type=0))
    for field in ("brand", "model", "system_version", "sdk_version"):
        assert_bad_request(code_of(register, fixture.server, **{field: ""}))


@case
def the_first_sign_in_makes_the_user_and_the_second_finds_it(fixture):
    first = fixture.user()
    assert first.user_id > 0 and first.token, first.user_id
    assert first.is_new
    again = fixture.another_device(first)
    assert not again.is_new
    assert again.device_id != first.device_id


@case
def device_ids_cannot_be_guessed(fixture):
    ids = sorted(register(fixture.server) for _ in range(20))
    assert 0 < ids[0] and ids[-1] < 2 ** 53, ids
    # Among twenty random 53-bit numbers, two are within 2^20 with a chance of about 1 in 10^7.
    assert min(after - before for before, after in zip(ids, ids[1:])) > 2 ** 20, ids


@on_both_wires
def a_stranger_who_signs_in_under_others_device_ids_takes_nothing(fixture):
    victims = fixture.users(3)
    connected = [fixture.online(victim) for victim in victims]
    stranger, sender = fixture.users(2)
    for victim, session in zip(victims, connected):
        there = copy.copy(stranger)
        there.device_id = victim.device_id
        there.sign_in()
        assert_equal(victim.code("BusinessExt.GetUser"), 0)
        fixture.online(there)
        sender.send(victim, "still there?")
        session.expect_words("still there?")
        assert_equal(victim.code("BusinessExt.GetUser"), 0)


@case
def another_user_who_holds_the_device_ends_the_previous_sign_in(fixture):
    phone = fixture.user()
    shown = phone.metadata()
    answer = call(fixture.server.business, "BusinessExt.SignIn", shown,
                  phone_number=fixture.new_phone(), code="000000", device_id=phone.device_id)
    assert answer.user_id != phone.user_id
    assert_equal(phone.code("BusinessExt.GetUser"), m.UNAUTHORIZED)


@case
def a_wrong_code_is_refused_and_makes_no_user(fixture):
    phone = fixture.new_phone()
    try:
        Device(fixture.server, phone, code="999999")
    except Refused as refusal:
        assert_equal(refusal.code, m.BAD_CODE)
        assert refusal.message, "a refusal without a text"
    else:
        raise AssertionError("a wrong code was accepted")
    assert Device(fixture.server, phone).is_new


@case
def signing_in_on_a_device_that_was_never_registered_is_refused(fixture):
    code = code_of(call, fixture.server.business, "BusinessExt.SignIn",
                   phone_number=fixture.new_phone(), code="000000", device_id=987654321)
    assert_equal(code, m.NO_DEVICE)


@case
def stale_metadata_is_ignored_where_none_is_needed(fixture):
    stale = [("user_id", "77"), ("device_id", "88"), ("token", "gone")]
    device_id = call(fixture.server.logic, "LogicExt.RegisterDevice", stale, type=2, brand="b",
                     model="m", system_version="1", sdk_version="1").device_id
    answer = call(fixture.server.business, "BusinessExt.SignIn", stale,
                  phone_number=fixture.new_phone(), code="000000", device_id=device_id)
    assert answer.is_new and answer.token


@case
def the_older_service_name_signs_in_too(fixture):
    answer = call(fixture.server.business, "UserExt.SignIn", phone_number=fixture.new_phone(),
                  code="000000", device_id=register(fixture.server))
    assert answer.is_new and answer.user_id > 0 and answer.token


@case
def both_services_are_on_both_client_ports(fixture):
    user = fixture.user()
    for channel in (fixture.server.logic, fixture.server.business):
        assert_equal(user.call("BusinessExt.GetUser", channel=channel).user.user_id, user.user_id)
        assert_equal(user.call("LogicExt.GetGroups", channel=channel).groups, [])


@case
def a_profile_is_what_was_last_written(fixture):
    user = fixture.user()
    profile = dict(nickname="Zoë 🦀", sex=2, avatar_url="http://a.example/1.png", extra="{}")
    user.call("BusinessExt.UpdateUser", **profile)
    found = user.call("BusinessExt.GetUser", user_id=user.user_id).user.fields()
    assert_equal({key: found[key] for key in profile}, profile)
    assert_equal(found["user_id"], user.user_id)


@case
def profile_times_are_in_seconds(fixture):
    found = fixture.user("clock").call("BusinessExt.GetUser").user
    for stamp in (found.create_time, found.update_time):
        assert abs(stamp - time.time()) < 3600, stamp


@case
def get_user_always_answers_the_caller(fixture):
    user, other = fixture.users(2)
    found = user.call("BusinessExt.GetUser", user_id=other.user_id).user
    assert_equal(found.user_id, user.user_id)


@case
def a_user_is_found_by_its_phone_number_and_by_the_beginning_of_its_nickname(fixture):
    # gim matches any part of both, which reveals strangers' phone numbers digit by digit (S-10).
    user, seeker = fixture.user("unforgettable one"), fixture.user()
    for key in (user.phone, "unforgett"):
        found = seeker.call("BusinessExt.SearchUser", key=key).users
        assert user.user_id in [each.user_id for each in found], (key, found)
    assert_equal(seeker.call("BusinessExt.SearchUser", key="nobody-is-called-so").users, [])


@case
def a_whole_name_of_any_length_is_found_and_a_short_beginning_is_not(fixture):
    seeker = fixture.user()
    users = {name: fixture.user(name).user_id for name in ("张三", "张三丰", "Bo", "Bob")}

    def found(key):
        return [each.user_id for each in seeker.call("BusinessExt.SearchUser", key=key).users]
    assert_equal(found("Bo"), [users["Bo"]])
    assert_equal(found("Bob"), [users["Bob"]])
    assert_equal(found("张三"), [users["张三"], users["张三丰"]])
    assert_equal(found("张"), [])
    assert_bad_request(seeker.code("BusinessExt.SearchUser", key=""))
