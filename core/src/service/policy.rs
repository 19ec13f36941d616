//! What the operator allows.

/// Who may send a message directly to a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direct {
    /// Every user.
    #[default]
    Anyone,
    /// Only the user's friends.
    Friends,
}

/// Who may add a user to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupAdd {
    /// Every user, as in gim.
    #[default]
    Anyone,
    /// Only the user's friends.
    Friends,
}

/// Who may push to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomPush {
    /// Every user, and the backend.
    #[default]
    Anyone,
    /// The backend alone.
    Business,
}

/// The rules of a server, beside those that follow from its laws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Who may send to a user.
    pub direct: Direct,
    /// Who may push to a room.
    pub room: RoomPush,
    /// Who may add a user to a group.
    pub group_add: GroupAdd,
}
