//! Rows of gim's tables, as they are read: nothing is checked yet.

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    pub(crate) id: u64,
    pub(crate) phone: String,
    pub(crate) nickname: String,
    pub(crate) sex: i64,
    pub(crate) avatar_url: String,
    pub(crate) extra: String,
    pub(crate) times: RowTimes,
}

/// A device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRow {
    pub(crate) id: u64,
    /// The user that signed in on it last; 0 if nobody did.
    pub(crate) user: u64,
    pub(crate) user_exists: bool,
    pub(crate) kind: i64,
    pub(crate) brand: String,
    pub(crate) model: String,
    pub(crate) system_version: String,
    pub(crate) sdk_version: String,
    pub(crate) times: RowTimes,
}

/// An edge of a friendship, or a request.
#[derive(Clone, Debug)]
pub(crate) struct FriendRow {
    pub(crate) user: u64,
    pub(crate) friend: u64,
    /// Both users exist.
    pub(crate) users_exist: bool,
    pub(crate) remarks: String,
    pub(crate) extra: String,
    pub(crate) status: i64,
    pub(crate) times: RowTimes,
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct GroupRow {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) avatar_url: String,
    pub(crate) introduction: String,
    pub(crate) extra: String,
    pub(crate) times: RowTimes,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(crate) struct MemberRow {
    pub(crate) user: u64,
    pub(crate) user_exists: bool,
    pub(crate) role: i64,
    pub(crate) remarks: String,
    pub(crate) extra: String,
}

/// Times of creation and of the last change, in milliseconds since 1970 UTC; `None` for a date that
/// MySQL cannot calculate with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowTimes {
    pub(crate) created: Option<i64>,
    pub(crate) updated: Option<i64>,
}

/// The seq of a user, as the table `seq` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeqRow {
    pub(crate) user: u64,
    pub(crate) user_exists: bool,
    pub(crate) seq: u64,
}

/// An entry of an inbox.
#[derive(Clone, Debug)]
pub(crate) struct EntryRow {
    pub(crate) user: u64,
    pub(crate) user_exists: bool,
    pub(crate) seq: u64,
    /// The last seq that gim has assigned to this user; 0 if the table `seq` has none.
    pub(crate) head: u64,
    pub(crate) request_id: i64,
    pub(crate) sent_at: Option<i64>,
    pub(crate) body: RowBody,
}

/// Message of an entry.
#[derive(Clone, Debug)]
pub(crate) enum RowBody {
    /// A message of 2021 or 2022.
    Columns(MessageColumns),
    /// A message of 2023 and 2024.
    Pushed2023 { code: i64, content: Vec<u8> },
    /// A message from 2025 on.
    Pushed2025 { code: i64, content: Vec<u8> },
    /// The message that the entry names does not exist.
    Missing,
}

/// Columns of a message of 2021 or 2022.
#[derive(Clone, Debug)]
pub(crate) struct MessageColumns {
    pub(crate) sender_type: i64,
    pub(crate) sender_id: u64,
    pub(crate) receiver_type: i64,
    pub(crate) receiver_id: u64,
    /// Ids of the mentioned users, separated by commas.
    pub(crate) mentions: String,
    pub(crate) kind: i64,
    pub(crate) content: Vec<u8>,
}
