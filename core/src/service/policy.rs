//! The operator's rules.

/// Users that may send a message directly to a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectSend {
    /// Every user.
    #[default]
    Anyone,
    /// Only the user's friends.
    Friends,
}

/// Users that may add a user to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupAdd {
    /// Every user, as in gim.
    #[default]
    Anyone,
    /// Only the user's friends.
    Friends,
}

/// Callers that may push to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomPush {
    /// Every user, and the backend.
    #[default]
    Anyone,
    /// The backend alone.
    Business,
}

/// The rules of a server that the operator sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerPolicy {
    /// Rule for direct messages.
    pub direct: DirectSend,
    /// Rule for pushes to rooms.
    pub room: RoomPush,
    /// Rule for additions to groups.
    pub group_add: GroupAdd,
}
