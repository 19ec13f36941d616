"""gRPC metadata: valid credentials, and the raw status 10000 without them."""

from gimclient import messages as m
from gimclient.cases import case
from gimclient.device import Device, call, code_of
from gimclient.server import Server
from gimclient.fixture import assert_equal


def refused(fixture, metadata):
    for channel, method in ((fixture.server.logic, "LogicExt.GetFriends"),
                            (fixture.server.business, "BusinessExt.GetUser")):
        assert_equal(code_of(call, channel, method, metadata), m.UNAUTHORIZED)


@case
def a_call_without_metadata_is_unauthorized(fixture):
    refused(fixture, [])


@case
def a_call_with_a_part_missing_is_unauthorized(fixture):
    user = fixture.user()
    refused(fixture, user.metadata(token=None))
    assert_equal(code_of(call, fixture.server.logic, "LogicExt.GetGroups",
                         user.metadata(device_id=None)), m.UNAUTHORIZED)


@case
def a_non_numeric_id_is_unauthorized(fixture):
    user = fixture.user()
    assert_equal(code_of(call, fixture.server.logic, "LogicExt.GetGroups",
                         user.metadata(user_id="somebody")), m.UNAUTHORIZED)
    assert_equal(code_of(call, fixture.server.logic, "LogicExt.GetGroups",
                         user.metadata(device_id="-")), m.UNAUTHORIZED)


@case
def a_wrong_token_is_unauthorized(fixture):
    refused(fixture, fixture.user().metadata(token="wrong"))


@case
def a_token_is_good_for_its_own_device_only(fixture):
    phone = fixture.user()
    tablet = fixture.another_device(phone)
    refused(fixture, phone.metadata(device_id=tablet.device_id))


@case
def a_token_is_good_for_its_own_user_only(fixture):
    alice, mallory = fixture.users(2)
    refused(fixture, mallory.metadata(user_id=alice.user_id))


@case
def the_fixed_token_of_old_test_clients_is_off_by_default(fixture):
    user = fixture.user()
    assert user.token != "0"
    refused(fixture, user.metadata(token="0"))


@case
def the_fixed_token_works_for_every_existing_user(fixture):
    """Works on any device and in any order, as gim's own test suite expects."""
    server = Server(fixture.server.binary, GIMLET_COMPAT__FIXED_TOKEN="true")
    server.start()
    try:
        alice, bob = Device(server, "13800000001"), Device(server, "13800000002")
        assert_equal((alice.token, bob.token), ("0", "0"))
        bob.device_id = alice.device_id
        bob.sign_in()
        for user in (alice, bob):
            for device in (alice, bob):
                user.device_id = device.device_id
                assert_equal(user.code("LogicExt.GetFriends"), 0)
        alice.user_id = 999999
        assert_equal(alice.code("LogicExt.GetFriends"), m.UNAUTHORIZED)
    finally:
        server.stop()
        server.remove()


@case
def metadata_with_hyphens_is_the_same(fixture):
    """nginx drops names with underscores by default."""
    user = fixture.user()
    hyphens = [(name.replace("_", "-"), value) for name, value in user.metadata()]
    assert_equal(code_of(call, fixture.server.logic, "LogicExt.GetFriends", hyphens), 0)
    assert_equal(call(fixture.server.business, "BusinessExt.GetUser", hyphens).user.user_id,
                 user.user_id)


@case
def a_good_triple_is_still_good_after_others_failed(fixture):
    user = fixture.user()
    assert_equal(user.code("LogicExt.GetFriends"), 0)
