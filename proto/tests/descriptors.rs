//! Tests the descriptors that reflection serves: the services have gim's names, and the code tables
//! keep their ranges.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::collections::{BTreeMap, BTreeSet};

use gimlet_proto::{DESCRIPTOR_SET, pb};
use prost::Message as _;
use prost_types::FileDescriptorSet;

fn files() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap()
}

fn methods() -> BTreeMap<String, BTreeSet<String>> {
    let files = files();
    let services = files.file.iter().flat_map(|file| {
        let package = file.package();
        file.service.iter().map(move |service| {
            let methods = service.method.iter().map(|m| m.name().to_owned());
            (format!("{package}.{}", service.name()), methods.collect())
        })
    });
    services.collect()
}

#[test]
fn every_service_of_gim_is_there_with_its_methods() {
    let methods = methods();
    let count = |name: &str| methods[name].len();
    let of_gim = methods
        .keys()
        .filter(|name| name.starts_with("pb."))
        .count();
    assert_eq!(of_gim, 5 + 2, "the services and two older names");
    assert_eq!(count("pb.LogicExt"), 15);
    assert_eq!(count("pb.LogicInt"), 10 + 1, "gim's and Disconnect");
    assert_eq!(count("pb.ConnectInt"), 1);
    assert_eq!(count("pb.BusinessExt"), 4 + 1, "gim's and SignOut");
    assert_eq!(count("pb.BusinessInt"), 3);
}

#[test]
fn the_older_service_names_have_gims_methods() {
    let mut methods = methods();
    assert!(methods.get_mut("pb.BusinessExt").unwrap().remove("SignOut"));
    assert_eq!(methods["pb.UserExt"], methods["pb.BusinessExt"]);
    assert_eq!(methods["pb.UserInt"], methods["pb.BusinessInt"]);
}

#[test]
fn every_close_code_is_in_a_range_that_says_what_to_do() {
    let files = files();
    let code = files
        .file
        .iter()
        .flat_map(|file| &file.enum_type)
        .find(|table| table.name() == "CloseCode")
        .unwrap();
    assert!(code.value.len() > 10);
    for value in &code.value {
        let number = value.number();
        assert!(
            number == 0 || (4000..4400).contains(&number),
            "{} is {number}",
            value.name()
        );
        assert!(pb::CloseCode::try_from(number).is_ok());
    }
}
