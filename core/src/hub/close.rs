//! Why the hub ends a connection.

use std::time::Duration;

/// Reason of a disconnect because another user, who holds the device, has signed in on it.
pub const DEVICE_SWITCHED: &str = "another user has signed in on this device";
/// The reason by which a client's own sign-out ends its connections; every other one is a backend's. It
/// travels between nodes as the text does.
pub const SIGNED_OUT: &str = "signed out";

/// Why a connection is closed from the inside. The wire tells it to clients that can hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device has signed in on a newer connection.
    Superseded,
    /// The user signed this device out.
    SignedOut,
    /// Another user, who holds the device, has signed in on it.
    DeviceSwitched,
    /// The business backend took the right to be connected away; the text is its.
    Disconnected(String),
    /// The token it signed in with has expired.
    Expired,
    /// The node is going away; the client may come back, elsewhere or here, after this long.
    Shutdown {
        /// Spread over the clients, so that they do not all come at once.
        after: Duration,
    },
}

impl CloseReason {
    /// The end of a connection whose right was taken away, for this reason.
    #[must_use]
    pub fn revoked(reason: &str) -> Self {
        match reason {
            SIGNED_OUT => Self::SignedOut,
            DEVICE_SWITCHED => Self::DeviceSwitched,
            other => Self::Disconnected(other.to_owned()),
        }
    }

    /// Whether the client may not be served from here on.
    pub(super) const fn is_revocation(&self) -> bool {
        matches!(
            self,
            Self::SignedOut | Self::DeviceSwitched | Self::Disconnected(_) | Self::Expired
        )
    }
}
