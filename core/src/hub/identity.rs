//! Who a connection belongs to.

use std::net::SocketAddr;

use crate::id::{ConnId, DeviceId, Generation, UserId};
use crate::message::{Message, Sender};

/// Who a connection belongs to; fixed when it signs in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The connection.
    pub conn: ConnId,
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The sign-in.
    pub generation: Generation,
    /// The client's protocol version; 0 is a client of gim.
    pub protocol: u32,
    /// When its token expires, in seconds of the gateway's clock (`gateway/expiry.rs`); 0 is never.
    pub expires: u32,
    /// The client's address.
    pub client: Option<SocketAddr>,
}

impl Identity {
    /// Whether this user sent the message from this device. A device that another user was signed
    /// in on before did not send for this one.
    #[must_use]
    pub fn sent(&self, message: &Message) -> bool {
        message.sender
            == Sender::User {
                user: self.user,
                device: Some(self.device),
            }
    }
}
