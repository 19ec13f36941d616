//! The user, device and sign-in that a connection belongs to.

use std::net::SocketAddr;

use crate::id::{ConnId, DeviceId, Generation, UserId};
use crate::message::{Message, MessageSender};

/// The user, device and sign-in that a connection belongs to; fixed at sign-in.
#[derive(Clone, Debug)]
pub struct ConnectionIdentity {
    /// Id of the connection.
    pub conn: ConnId,
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Generation of the sign-in.
    pub generation: Generation,
    /// Version of gimlet's protocol extension; 0 for a client of gim.
    pub protocol: u32,
    /// Expiry of its token, in seconds of the gateway's clock (`gateway/expiry.rs`); 0 for never.
    pub expires: u32,
    /// The client's address.
    pub client: Option<SocketAddr>,
}

impl ConnectionIdentity {
    /// Returns whether this user sent the message from this device. A message that another user
    /// sent from the same device before is not this user's.
    #[must_use]
    pub fn sent(&self, message: &Message) -> bool {
        message.sender
            == MessageSender::User {
                user: self.user,
                device: Some(self.device),
            }
    }
}
