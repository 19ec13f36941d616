//! The disk space that a change needs.

/// Effect of a change on the disk space, which decides when it is refused as full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpaceEffect {
    /// Adds data permanently.
    Adds,
    /// Sets a small row: a sign-in, an ack.
    Sets,
    /// Removes data.
    Removes,
}
