//! One direction of a friendship, as in-memory storage keeps it.

/// The friendship edge from one user to another, with the data that the user stores.
#[derive(Debug)]
pub(super) struct FriendEdge {
    pub(super) agreed: bool,
    pub(super) remarks: String,
    pub(super) extra: String,
}

impl FriendEdge {
    pub(super) fn new(agreed: bool, remarks: &str) -> Self {
        Self {
            agreed,
            remarks: remarks.to_owned(),
            extra: String::new(),
        }
    }
}
