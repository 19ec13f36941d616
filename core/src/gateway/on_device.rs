//! Messages for one device, from a backend or from gim's logic nodes: shown at once, or taken as a
//! hint that the inbox has grown.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::gateway::ConnectGateway;
use crate::hub::ConnectionHandle;
use crate::id::{DeviceId, UserId};
use crate::message::{Message, UserProfile};
use crate::seq::Seq;

impl ConnectGateway {
    /// Returns the connection that owns this device here, of this user if one is named; `None` if
    /// there is none.
    ///
    /// # Errors
    /// No user is named and several are signed in on the device: a device id is not proof of the
    /// user, and a message for one user must not be shown to another.
    pub fn on_device(
        &self,
        device: DeviceId,
        user: Option<UserId>,
    ) -> Result<Option<Arc<ConnectionHandle>>, RequestRefusal> {
        let mut here = self.inner.context.hub.on_device(device);
        here.retain(|it| user.is_none_or(|user| it.identity().user == user));
        let count = here.len();
        let first = here.pop();
        if count > 1 {
            return Err(RequestRefusal::bad(format!(
                "device {device} is signed in as {count} users; set user_id to the intended one"
            )));
        }
        Ok(first)
    }

    /// Shows a message that is in no inbox on a connection: best effort.
    ///
    /// # Errors
    /// The content is longer than the limit.
    pub fn show(
        &self,
        connection: &ConnectionHandle,
        message: Message,
        profile: UserProfile,
    ) -> Result<(), RequestRefusal> {
        let (length, max) = (message.content.len(), self.inner.context.limits.content);
        if length > max {
            return Err(RequestRefusal::bad(format!(
                "message_content is {length} bytes; at most {max} are allowed"
            )));
        }
        let envelope = Envelope::new(Arc::new(message), Arc::new(profile), 0);
        connection.offer_live(Seq::ZERO, &Arc::new(envelope));
        Ok(())
    }

    /// Compares the cursors of the user's connections here with the inbox. A caller that names an
    /// entry only hints at it: the entries are read from the inbox, never taken from the call.
    ///
    /// # Errors
    /// The logic role did not answer.
    pub async fn compare_head(&self, user: UserId) -> Result<(), RequestRefusal> {
        if let Some(head) = self.inner.context.logic.heads(&[user]).await?.first() {
            self.inner.context.hub.hint(user, head.head);
        }
        Ok(())
    }
}
