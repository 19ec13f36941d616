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
    /// Devices that one address may register in a second; 0 means no limit.
    pub device_registrations: u32,
    /// True if clients on loopback are the developer; otherwise they are clients behind a proxy on
    /// this machine, who share limits.
    pub loopback_is_developer: bool,
}
