//! Why the hub ends a connection.

use std::time::Duration;

/// Reason of a disconnect because another user, who holds the device, has signed in on it.
pub const DEVICE_SWITCHED: &str = "another user has signed in on this device";

/// Why a connection is closed from the inside. The wire tells it to clients that can hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device has signed in on a newer connection.
    Superseded,
    /// The business backend or the user took the right to be connected away; the text is theirs.
    Revoked(String),
    /// The token it signed in with has expired.
    Expired,
    /// The node is going away; the client may come back, elsewhere or here, after this long.
    Shutdown {
        /// Spread over the clients, so that they do not all come at once.
        after: Duration,
    },
}
