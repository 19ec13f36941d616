//! Reasons for which the hub closes a connection.

use std::time::Duration;

/// Reason of a disconnect because another user has proved to hold the device and signed in on it.
pub const DEVICE_SWITCHED: &str = "another user has signed in on this device";
/// Reason that a client's own sign-out gives; every other reason comes from the business server. It
/// travels between nodes as this text.
pub const SIGNED_OUT: &str = "signed out";

/// Reason for which the server closes a connection. The wire reports it to clients whose protocol
/// allows that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device has signed in on a newer connection.
    Superseded,
    /// The user signed out on this device.
    SignedOut,
    /// Another user has proved to hold the device and signed in on it.
    DeviceSwitched,
    /// The business server revoked the right to be connected; the text is its reason.
    Disconnected(String),
    /// The token it signed in with has expired.
    Expired,
    /// The node is shutting down. The client may reconnect, to this node or another, after this
    /// delay.
    Shutdown {
        /// Random per client, so that the clients do not all reconnect at once.
        after: Duration,
    },
}

impl CloseReason {
    /// Returns the close for a connection whose right was revoked for this reason.
    #[must_use]
    pub fn revoked(reason: &str) -> Self {
        match reason {
            SIGNED_OUT => Self::SignedOut,
            DEVICE_SWITCHED => Self::DeviceSwitched,
            other => Self::Disconnected(other.to_owned()),
        }
    }

    /// Returns whether the client must not be served from here on.
    pub(super) const fn is_revocation(&self) -> bool {
        matches!(
            self,
            Self::SignedOut | Self::DeviceSwitched | Self::Disconnected(_) | Self::Expired
        )
    }
}
