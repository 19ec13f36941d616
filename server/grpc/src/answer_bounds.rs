//! The largest answer of every method, checked against the descriptions: an answer that is not
//! paged must stay below the 4 MiB that a gRPC client takes by default, whatever clients have
//! stored.

use std::collections::BTreeMap;

use gimlet_proto::DESCRIPTOR_SET;
use prost::Message as _;

use crate::list_pages::MAX_ANSWER_BYTES;
use crate::services::REQUEST_MAX_BYTES;

/// The bound of an answer.
enum AnswerBound {
    /// At most this many bytes.
    Bytes(usize),
    /// Cut before it is too large, with a field that says so.
    Paged,
    /// Refused when it is too large.
    Checked,
}

use AnswerBound::{Bytes, Checked, Paged};

/// Bytes of a profile with its numbers: name 255, picture 512, extra 1,024.
const PROFILE_BYTES: usize = 1_900;
/// Bytes of a group: name, picture, introduction, extra.
const GROUP_BYTES: usize = 3_000;
/// Bytes of a device: five texts of 255 and two addresses.
const DEVICE_BYTES: usize = 2_000;
/// Users of a search: the most that `limits.list_page` may be.
const SEARCH_USERS: usize = 1_000;
/// Bytes of ids: a request of 256 KiB bounds how many come back, ten bytes each at most.
const IDS_BYTES: usize = 2 * REQUEST_MAX_BYTES;
/// Bytes of a few numbers.
const FEW_NUMBERS_BYTES: usize = 1_024;
/// Bytes of a page of an inbox: 60 KiB and one message more, with names and mentions for 50.
const INBOX_PAGE_BYTES: usize = 512 << 10;

const ANSWERS: &[(&str, AnswerBound)] = &[
    ("LogicExt.RegisterDevice", Bytes(FEW_NUMBERS_BYTES)),
    ("LogicExt.SendMessage", Bytes(FEW_NUMBERS_BYTES)),
    ("LogicExt.PushRoom", Bytes(0)),
    ("LogicExt.AddFriend", Bytes(0)),
    ("LogicExt.AgreeAddFriend", Bytes(0)),
    ("LogicExt.SetFriend", Bytes(PROFILE_BYTES)),
    ("LogicExt.GetFriends", Paged),
    ("LogicExt.CreateGroup", Bytes(FEW_NUMBERS_BYTES)),
    ("LogicExt.UpdateGroup", Bytes(0)),
    ("LogicExt.GetGroup", Bytes(GROUP_BYTES)),
    ("LogicExt.GetGroups", Paged),
    ("LogicExt.AddGroupMembers", Bytes(IDS_BYTES)),
    ("LogicExt.UpdateGroupMember", Bytes(0)),
    ("LogicExt.DeleteGroupMember", Bytes(0)),
    ("LogicExt.GetGroupMembers", Paged),
    ("LogicInt.ConnSignIn", Bytes(0)),
    ("LogicInt.Sync", Bytes(INBOX_PAGE_BYTES)),
    ("LogicInt.MessageACK", Bytes(0)),
    ("LogicInt.Offline", Bytes(0)),
    ("LogicInt.SubscribeRoom", Bytes(0)),
    ("LogicInt.SendMessage", Bytes(FEW_NUMBERS_BYTES)),
    ("LogicInt.PushRoom", Bytes(0)),
    ("LogicInt.PushAll", Bytes(0)),
    ("LogicInt.GetDevice", Bytes(DEVICE_BYTES)),
    ("LogicInt.ServerStop", Bytes(0)),
    ("LogicInt.Disconnect", Bytes(0)),
    ("ConnectInt.DeliverMessage", Bytes(0)),
    ("BusinessExt.SignIn", Bytes(FEW_NUMBERS_BYTES)),
    ("BusinessExt.GetUser", Bytes(PROFILE_BYTES)),
    ("BusinessExt.UpdateUser", Bytes(0)),
    (
        "BusinessExt.SearchUser",
        Bytes(SEARCH_USERS * PROFILE_BYTES),
    ),
    ("BusinessExt.SignOut", Bytes(0)),
    ("UserExt.SignIn", Bytes(FEW_NUMBERS_BYTES)),
    ("UserExt.GetUser", Bytes(PROFILE_BYTES)),
    ("UserExt.UpdateUser", Bytes(0)),
    ("UserExt.SearchUser", Bytes(SEARCH_USERS * PROFILE_BYTES)),
    ("BusinessInt.Auth", Bytes(0)),
    ("BusinessInt.GetUser", Bytes(PROFILE_BYTES)),
    ("BusinessInt.GetUsers", Checked),
    ("UserInt.Auth", Bytes(0)),
    ("UserInt.GetUser", Bytes(PROFILE_BYTES)),
    ("UserInt.GetUsers", Checked),
];

#[test]
fn p10_every_answer_has_a_bound_below_what_a_client_takes_by_default() {
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let mut table: BTreeMap<_, _> = ANSWERS.iter().map(|(name, bound)| (*name, bound)).collect();
    let gims = set.file.iter().filter(|file| file.package() == "pb");
    for service in gims.flat_map(|file| &file.service) {
        for method in &service.method {
            let name = format!("{}.{}", service.name(), method.name());
            let bound = table.remove(name.as_str());
            let bound = bound.unwrap_or_else(|| panic!("{name} has no bound: page it, or say why"));
            // A list in an answer must be paged, checked, or bounded by something that is named
            // above.
            if let Bytes(most) = bound {
                assert!(
                    *most <= MAX_ANSWER_BYTES,
                    "{name} may answer {most} bytes: page it"
                );
            }
        }
    }
    assert!(table.is_empty(), "no such methods: {:?}", table.keys());
}
