//! Request and result of a sign-in with the built-in business service; their secrets are never
//! printed.

use std::fmt;

use crate::id::{DeviceId, UserId};

/// A request to sign in.
#[derive(Clone)]
pub struct SignIn {
    /// The phone number.
    pub phone: String,
    /// The verification code that was sent to it.
    pub code: String,
    /// The registered device.
    pub device: DeviceId,
    /// A user and a token that the caller presents for this device, valid or not. A valid one
    /// proves that the caller holds the device, and other users' sign-ins on it end.
    pub holder: Option<(UserId, String)>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignIn({})", self.device)
    }
}

/// Result of a sign-in.
#[derive(Clone)]
pub struct SignedIn {
    /// True if the user was created by this sign-in.
    pub is_new: bool,
    /// The user.
    pub user: UserId,
    /// The device's token.
    pub token: String,
    /// Other users whose tokens on this device were revoked. The caller must close their
    /// connections.
    pub ended: Vec<UserId>,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedIn({}, new: {})", self.user, self.is_new)
    }
}
