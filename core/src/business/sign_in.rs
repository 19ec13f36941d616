//! What a sign-in with the built-in business service asks and answers; neither is ever printed.

use std::fmt;

use crate::id::{DeviceId, UserId};

/// A request to sign in.
#[derive(Clone)]
pub struct SignIn {
    /// The phone number.
    pub phone: String,
    /// The code that was sent to it.
    pub code: String,
    /// The device, which is registered.
    pub device: DeviceId,
    /// A user and a token that the caller shows for this device, right or not. A right one proves
    /// that the caller holds the device, and then other users' sign-ins on it end.
    pub holder: Option<(UserId, String)>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignIn({})", self.device)
    }
}

/// A user that has signed in.
#[derive(Clone)]
pub struct SignedIn {
    /// Whether the user was made now.
    pub is_new: bool,
    /// The user.
    pub user: UserId,
    /// What the device proves itself with from now on.
    pub token: String,
    /// Other users whose tokens on this device ended. Whoever calls it closes their connections.
    pub ended: Vec<UserId>,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedIn({}, new: {})", self.user, self.is_new)
    }
}
