//! Names of fields in the texts of the services.
//!
//! A refusal of a service begins with the name of the wrong field. Those are the names of gRPC, and
//! some are others here.

/// Fields with other names in gRPC, each with its name in this API.
const RENAMED: [(&str, &str); 4] = [
    ("message_content", "content"),
    ("to_user_ids", "mentions"),
    (CLIENT_ID, KEY_FIELD),
    ("friend_id", "user_id"),
];

/// The id of a send, which other entry points have as a field.
const CLIENT_ID: &str = "client_message_id";

/// The header that has this id here.
pub(crate) const KEY_FIELD: &str = "Idempotency-Key";

/// Beginning of the texts about a header.
const HEADER: &str = "the header ";

/// Returns the field that the text of a refusal begins with, and the text with that name, if it is
/// one of the operation's.
pub(crate) fn field_of(text: &str, is_field: impl Fn(&str) -> bool) -> Option<(String, String)> {
    if let Some(rest) = text.strip_prefix(HEADER) {
        let (name, _) = rest.split_once(' ')?;
        return is_field(name).then(|| (name.to_owned(), text.to_owned()));
    }
    let (first, rest) = text.split_once(' ')?;
    let renamed = RENAMED.iter().find(|(there, _)| *there == first);
    let name = renamed.map_or(first, |(_, here)| here);
    is_field(name).then(|| (name.to_owned(), format!("{name} {rest}")))
}

/// Returns whether a text names the id of a send.
pub(crate) fn names_key(text: &str) -> bool {
    text.contains(CLIENT_ID)
}

/// Replaces the id of a send within a text.
pub(crate) fn with_key(text: &str) -> String {
    text.replace(CLIENT_ID, KEY_FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_begins_with_its_field() {
        let fields = ["content", "mentions", "nickname", "user_id", "Gimlet-User"];
        let find = |text| field_of(text, |name| fields.contains(&name));
        let named = |name: &str, text: &str| Some((name.to_owned(), text.to_owned()));
        assert_eq!(
            find("message_content is 9 bytes; at most 8"),
            named("content", "content is 9 bytes; at most 8")
        );
        assert_eq!(
            find("to_user_ids names 3 users"),
            named("mentions", "mentions names 3 users")
        );
        assert_eq!(
            find("friend_id is your own id"),
            named("user_id", "user_id is your own id")
        );
        assert_eq!(
            find("the header Gimlet-User is not a user's id"),
            named("Gimlet-User", "the header Gimlet-User is not a user's id")
        );
        for other in ["the body is not JSON", "user u:3 is not your friend", ""] {
            assert_eq!(find(other), None, "{other}");
        }
    }
}
