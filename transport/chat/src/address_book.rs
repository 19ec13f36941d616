//! The address book: names of people and groups by id, and ids by typed text.

use std::collections::BTreeMap;

use gimlet_client::MessageTarget;

use crate::clean::clean;

/// Digits above which a plain number is a phone number, not an id.
const ID_DIGITS: usize = 6;

/// Names of people and groups known to this chat.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressBook {
    people: BTreeMap<i64, String>,
    groups: BTreeMap<i64, String>,
}

/// The result of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NameLookup {
    /// Exactly one.
    One(i64),
    /// No match.
    Nothing,
    /// Several matches, by the labels that distinguish them.
    Several(Vec<String>),
}

impl AddressBook {
    /// Stores a person's name. A person without a name is shown by number.
    pub(crate) fn learn_person(&mut self, id: i64, name: &str) {
        let name = clean(name);
        if !name.trim().is_empty() {
            self.people.insert(id, name.trim().to_owned());
        }
    }

    /// Stores a group's name.
    pub(crate) fn learn_group(&mut self, id: i64, name: &str) {
        let name = clean(name);
        self.groups.insert(id, name.trim().to_owned());
    }

    /// Removes a group that this user has left.
    pub(crate) fn forget_group(&mut self, id: i64) {
        self.groups.remove(&id);
    }

    /// Adds the names of another address book, which are newer.
    pub(crate) fn merge(&mut self, other: Self) {
        self.people.extend(other.people);
        self.groups.extend(other.groups);
    }

    pub(crate) fn knows_group(&self, id: i64) -> bool {
        self.groups.contains_key(&id)
    }

    /// Returns a person's name, with the number if another person has the same name.
    pub(crate) fn person(&self, id: i64) -> String {
        label(&self.people, id, "user")
    }

    /// Returns a group's name, with the number if another group has the same name.
    pub(crate) fn group(&self, id: i64) -> String {
        label(&self.groups, id, "group")
    }

    /// Returns the name of a message's receiver.
    pub(crate) fn receiver(&self, to: MessageTarget) -> String {
        match to {
            MessageTarget::User(id) => self.person(id),
            MessageTarget::Group(id) => self.group(id),
            MessageTarget::Room(0) => "everybody".to_owned(),
            MessageTarget::Room(id) => format!("room {id}"),
            _ => String::new(),
        }
    }

    /// Finds a person by name, label or number.
    pub(crate) fn find_person(&self, key: &str) -> NameLookup {
        find(&self.people, key, "user")
    }

    /// Finds a group by name, label or number.
    pub(crate) fn find_group(&self, key: &str) -> NameLookup {
        find(&self.groups, key, "group")
    }
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn label(names: &BTreeMap<i64, String>, id: i64, kind: &str) -> String {
    match names.get(&id) {
        None => format!("{kind} {id}"),
        Some(name) => {
            let shared = names.iter().any(|(other, n)| *other != id && same(n, name));
            if shared || name.is_empty() {
                format!("{name}#{id}")
            } else {
                name.clone()
            }
        }
    }
}

fn find(names: &BTreeMap<i64, String>, key: &str, kind: &str) -> NameLookup {
    let key = key.trim();
    let fitting: Vec<i64> = names
        .keys()
        .copied()
        .filter(|id| names.get(id).is_some_and(|name| same(name, key)))
        .collect();
    match fitting.as_slice() {
        [id] => return NameLookup::One(*id),
        [] => {}
        many => {
            return NameLookup::Several(many.iter().map(|id| label(names, *id, kind)).collect());
        }
    }
    // "bob#7", "#7", "user 7" and "7": every form that the chat itself may have shown.
    if let Some((_, number)) = key.rsplit_once('#') {
        return number_of(number, names);
    }
    let bare = key.strip_prefix(kind).unwrap_or(key).trim();
    number_of(bare, names)
}

fn number_of(text: &str, names: &BTreeMap<i64, String>) -> NameLookup {
    match text.parse::<i64>() {
        Ok(id) if id > 0 && (names.contains_key(&id) || text.len() <= ID_DIGITS) => {
            NameLookup::One(id)
        }
        _ => NameLookup::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> AddressBook {
        let mut names = AddressBook::default();
        names.learn_person(2, "Bob");
        names.learn_person(3, "carol");
        names.learn_person(9, "bob");
        names.learn_person(10, " ");
        names
    }

    #[test]
    fn a_shared_name_is_shown_with_its_number_and_others_without() {
        let names = book();
        assert_eq!(names.person(2), "Bob#2");
        assert_eq!(names.person(3), "carol");
        assert_eq!(names.person(10), "user 10");
        assert_eq!(names.group(4), "group 4");
    }

    #[test]
    fn whatever_is_shown_can_be_typed() {
        let names = book();
        assert_eq!(names.find_person("Carol"), NameLookup::One(3));
        for label in [names.person(2), "#2".into(), "2".into(), "user 2".into()] {
            assert_eq!(names.find_person(&label), NameLookup::One(2), "{label}");
        }
        let both = vec!["Bob#2".to_owned(), "bob#9".to_owned()];
        assert_eq!(names.find_person("bob"), NameLookup::Several(both));
        assert_eq!(names.find_person("dave"), NameLookup::Nothing);
        assert_eq!(names.find_person("13800000002"), NameLookup::Nothing);
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut names = AddressBook::default();
        names.learn_person(1, "\u{1b}[2Jeve");
        assert_eq!(names.person(1), "[2Jeve");
    }
}
