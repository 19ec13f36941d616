"""gRPC metadata: who may call, and the raw status 10000 for who may not."""

from gimclient import messages as m
from gimclient.cases import case
from gimclient.device import call, code_of
from gimclient.world import assert_equal


def refused(w, metadata):
    for channel, method in ((w.server.logic, "LogicExt.GetFriends"),
                            (w.server.business, "BusinessExt.GetUser")):
        assert_equal(code_of(call, channel, method, metadata), m.UNAUTHORIZED)


@case
def a_call_without_metadata_is_unauthorized(w):
    refused(w, [])


@case
def a_call_with_a_part_missing_is_unauthorized(w):
    user = w.user()
    refused(w, user.metadata(token=None))
    assert_equal(code_of(call, w.server.logic, "LogicExt.GetGroups",
                         user.metadata(device_id=None)), m.UNAUTHORIZED)


@case
def an_id_that_is_no_number_is_unauthorized(w):
    user = w.user()
    assert_equal(code_of(call, w.server.logic, "LogicExt.GetGroups",
                         user.metadata(user_id="somebody")), m.UNAUTHORIZED)
    assert_equal(code_of(call, w.server.logic, "LogicExt.GetGroups",
                         user.metadata(device_id="-")), m.UNAUTHORIZED)


@case
def a_wrong_token_is_unauthorized(w):
    refused(w, w.user().metadata(token="wrong"))


@case
def a_token_is_good_for_its_own_device_only(w):
    phone = w.user()
    tablet = w.another_device(phone)
    refused(w, phone.metadata(device_id=tablet.device_id))


@case
def a_token_is_good_for_its_own_user_only(w):
    alice, mallory = w.users(2)
    refused(w, mallory.metadata(user_id=alice.user_id))


@case
def the_fixed_token_of_old_test_clients_is_off_by_default(w):
    user = w.user()
    assert user.token != "0"
    refused(w, user.metadata(token="0"))


@case
def a_good_triple_is_still_good_after_others_failed(w):
    user = w.user()
    assert_equal(user.code("LogicExt.GetFriends"), 0)
