//! The generations of gim's schema, recognised by their tables and columns.
//!
//! Names of tables and columns are those of `sql/create_table.sql` in gim's repository: commits
//! `dd7b5fb` (2021-03) to `71cbe02` (2022-05), `0f7f724` (2023-02), and `cf67528` (2025-05) to
//! `5134ea6` (2025-12).

use std::collections::{BTreeMap, BTreeSet};

/// Generation of gim's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GimGeneration {
    /// 2021 and 2022: `message_000` and so on have a row for each entry of an inbox, with sender
    /// and receiver in columns. Its clients are those that gimlet serves.
    Of2021,
    /// 2023 and 2024: `message` has a row for each entry, whose content names sender and receiver.
    Of2023,
    /// From 2025 on: `user_message` has a row for each entry, `message` each message once.
    Of2025,
}

impl GimGeneration {
    /// Returns the years, as a user knows the generation.
    #[must_use]
    pub const fn years(self) -> &'static str {
        match self {
            Self::Of2021 => "2021-2022",
            Self::Of2023 => "2023-2024",
            Self::Of2025 => "2025",
        }
    }
}

/// Tables of a database, each with its columns.
pub(crate) type TableColumns = BTreeMap<String, BTreeSet<String>>;

/// Names of the tables and columns that differ between generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GimSchema {
    pub(crate) generation: GimGeneration,
    /// Tables with the entries of the inboxes.
    pub(crate) message_tables: Vec<String>,
    /// Table of the members, with the columns of their role and of their name in the group.
    pub(crate) member_table: &'static str,
    pub(crate) member_role: &'static str,
    pub(crate) member_name: &'static str,
    /// Columns of the times of creation and of the last change.
    pub(crate) created: &'static str,
    pub(crate) updated: &'static str,
    /// Column of a message's kind, from 2023 on.
    pub(crate) command: &'static str,
}

const SHARED_TABLES: &[(&str, &[&str])] = &[
    (
        "user",
        &[
            "id",
            "phone_number",
            "nickname",
            "sex",
            "avatar_url",
            "extra",
        ],
    ),
    (
        "device",
        &[
            "id",
            "user_id",
            "type",
            "brand",
            "model",
            "system_version",
            "sdk_version",
        ],
    ),
    (
        "friend",
        &["user_id", "friend_id", "remarks", "extra", "status"],
    ),
    (
        "group",
        &["id", "name", "avatar_url", "introduction", "extra"],
    ),
    ("seq", &["object_type", "object_id", "seq"]),
];
const MESSAGE_2021: &[&str] = &[
    "user_id",
    "seq",
    "request_id",
    "sender_type",
    "sender_id",
    "receiver_type",
    "receiver_id",
    "to_user_ids",
    "type",
    "content",
    "send_time",
];
const MESSAGE_2023: &[&str] = &[
    "user_id",
    "seq",
    "request_id",
    "code",
    "content",
    "send_time",
];
const MESSAGE_2025: &[&str] = &["id", "request_id", "content"];
const USER_MESSAGE_2025: &[&str] = &["user_id", "seq", "message_id"];

impl GimSchema {
    /// Recognises the schema of these tables.
    ///
    /// # Errors
    /// The tables that are expected, and those that were found.
    pub(crate) fn recognise(tables: &TableColumns) -> Result<Self, String> {
        let has = |table: &str, columns: &[&str]| {
            let found = tables.get(table);
            found.is_some_and(|found| columns.iter().all(|it| found.contains(*it)))
        };
        for (table, columns) in SHARED_TABLES {
            if !has(table, columns) {
                let expected = format!("{table} ({})", columns.join(", "));
                return Err(unknown(tables, &expected));
            }
        }
        let times = |created: &str, updated: &str| {
            ["user", "device", "friend", "group"]
                .iter()
                .all(|table| has(table, &[created, updated]))
        };
        let (created, updated) = if times("create_time", "update_time") {
            ("create_time", "update_time")
        } else if times("created_at", "updated_at") {
            ("created_at", "updated_at")
        } else {
            return Err(unknown(tables, "create_time or created_at in every table"));
        };
        let (member_table, member_role, member_name) = if has(
            "group_user",
            &["group_id", "user_id", "member_type", "remarks", "extra"],
        ) {
            ("group_user", "member_type", "remarks")
        } else if has(
            "group_member",
            &["group_id", "user_id", "type", "nickname", "extra"],
        ) {
            ("group_member", "type", "nickname")
        } else {
            return Err(unknown(tables, "group_user or group_member"));
        };
        let numbered: Vec<String> = tables
            .keys()
            .filter(|it| is_numbered(it))
            .cloned()
            .collect();
        let numbered_fit = !numbered.is_empty() && numbered.iter().all(|it| has(it, MESSAGE_2021));
        let (generation, message_tables) = if numbered_fit {
            (GimGeneration::Of2021, numbered)
        } else if has("user_message", USER_MESSAGE_2025) && has("message", MESSAGE_2025) {
            (GimGeneration::Of2025, vec!["user_message".to_owned()])
        } else if has("message", MESSAGE_2023) {
            (GimGeneration::Of2023, vec!["message".to_owned()])
        } else {
            let expected = "message_000 with sender_id and receiver_id (gim of 2021 and 2022), message \
                            with user_id and code (2023), or user_message and message (2025)";
            return Err(unknown(tables, expected));
        };
        let command = match generation {
            GimGeneration::Of2025 if has("message", &["command"]) => "command",
            GimGeneration::Of2025 if !has("message", &["code"]) => {
                return Err(unknown(tables, "message with command or code"));
            }
            _ => "code",
        };
        Ok(Self {
            generation,
            message_tables,
            member_table,
            member_role,
            member_name,
            created,
            updated,
            command,
        })
    }
}

/// Returns whether this is one of `message_000`, `message_001` …
fn is_numbered(table: &str) -> bool {
    table
        .strip_prefix("message_")
        .is_some_and(|number| number.len() == 3 && number.bytes().all(|it| it.is_ascii_digit()))
}

fn unknown(tables: &TableColumns, expected: &str) -> String {
    let found: Vec<&str> = tables.keys().map(String::as_str).collect();
    let found = match found.as_slice() {
        [] => "no tables".to_owned(),
        names => names.join(", "),
    };
    format!("expected {expected}; found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(of: &[(&str, &[&str])]) -> TableColumns {
        let columns = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
        of.iter()
            .map(|(table, names)| ((*table).to_owned(), columns(names)))
            .collect()
    }

    fn shared(times: [&str; 2]) -> TableColumns {
        let mut all = tables(SHARED_TABLES);
        for columns in all.values_mut() {
            columns.extend(times.map(str::to_owned));
        }
        all
    }

    const GROUP_USER: &[(&str, &[&str])] = &[(
        "group_user",
        &["group_id", "user_id", "member_type", "remarks", "extra"],
    )];
    const GROUP_MEMBER: &[(&str, &[&str])] = &[(
        "group_member",
        &["group_id", "user_id", "type", "nickname", "extra"],
    )];

    #[test]
    fn each_generation_is_recognised() {
        let mut all = shared(["create_time", "update_time"]);
        all.extend(tables(GROUP_USER));
        all.extend(tables(&[
            ("message_000", MESSAGE_2021),
            ("message_001", MESSAGE_2021),
        ]));
        let schema = GimSchema::recognise(&all).unwrap();
        assert_eq!(schema.generation, GimGeneration::Of2021);
        assert_eq!(schema.message_tables, ["message_000", "message_001"]);
        assert_eq!(schema.member_table, "group_user");

        let mut all = shared(["create_time", "update_time"]);
        all.extend(tables(GROUP_USER));
        all.extend(tables(&[("message", MESSAGE_2023)]));
        let schema = GimSchema::recognise(&all).unwrap();
        assert_eq!(
            (schema.generation, schema.command),
            (GimGeneration::Of2023, "code")
        );

        let mut all = shared(["created_at", "updated_at"]);
        all.extend(tables(GROUP_MEMBER));
        all.extend(tables(&[
            ("user_message", USER_MESSAGE_2025),
            ("message", &["id", "request_id", "content", "command"]),
        ]));
        let schema = GimSchema::recognise(&all).unwrap();
        assert_eq!(
            (schema.generation, schema.command, schema.created),
            (GimGeneration::Of2025, "command", "created_at")
        );
        assert_eq!(schema.member_name, "nickname");
    }

    #[test]
    fn other_tables_are_refused_by_what_is_missing() {
        let refused = GimSchema::recognise(&TableColumns::new()).unwrap_err();
        assert!(refused.contains("found no tables"), "{refused}");
        // gim before 2021-03: messages belong to an object instead of a user.
        let mut all = shared(["create_time", "update_time"]);
        all.extend(tables(GROUP_USER));
        all.extend(tables(&[("message_000", &["object_id", "seq", "content"])]));
        let refused = GimSchema::recognise(&all).unwrap_err();
        assert!(
            refused.contains("expected message_000 with sender_id")
                && refused.contains("found device, friend, group, group_user, message_000"),
            "{refused}"
        );
        let mut all = shared(["create_time", "update_time"]);
        all.remove("seq");
        let refused = GimSchema::recognise(&all).unwrap_err();
        assert!(refused.contains("expected seq (object_type"), "{refused}");
    }
}
