//! `ConnectInt`: calls of gim's logic nodes and of backends to the node that holds a device's
//! connection.

use std::sync::Arc;

use gimlet_core::envelope::Envelope;
use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::logic::LogicRole;
use gimlet_core::seq::Seq;
use gimlet_proto::pb::connect_int_server::ConnectInt;
use gimlet_proto::pb::{self, Empty};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use super::status::status;

/// The internal service of the connect role.
#[derive(Clone, Debug)]
pub(super) struct ConnectIntService {
    gateway: ConnectGateway,
    logic: Arc<dyn LogicRole>,
    /// The longest content, in bytes.
    content: usize,
}

impl ConnectIntService {
    pub(super) fn new(gateway: ConnectGateway, logic: Arc<dyn LogicRole>, content: usize) -> Self {
        Self {
            gateway,
            logic,
            content,
        }
    }

    /// Delivers a message to a device.
    ///
    /// A message with a seq is only a hint: the connection's cursor is compared with the real head,
    /// and the entries are read from the inbox, never taken from the call. A message with seq 0 is
    /// content of its own and is shown on the device. A device that is not connected here is not an
    /// error.
    async fn deliver(&self, req: pb::DeliverMessageReq) -> Result<(), RequestRefusal> {
        let device = convert::device("device_id", req.device_id)?;
        let message = req.message_send.and_then(|send| send.message);
        let message = message.ok_or_else(|| {
            RequestRefusal::bad("message_send.message is missing; send the message to deliver")
        })?;
        let hub = self.gateway.hub();
        let mut here = hub.on_device(device);
        if req.user_id != 0 {
            let user = convert::user("user_id", req.user_id)?;
            here.retain(|it| it.identity().user == user);
        }
        let owner = match here.as_slice() {
            [] => return Ok(()),
            [owner] => owner,
            // A device id is not proof of the user: a message for one user must not be shown to
            // another.
            _ => {
                return Err(RequestRefusal::bad(format!(
                    "device {device} is signed in as {} users; set user_id to the \
                     intended one",
                    here.len()
                )));
            }
        };
        let user = owner.identity().user;
        if message.seq == 0 {
            let length = message.message_content.len();
            if length > self.content {
                return Err(RequestRefusal::bad(format!(
                    "message_content is {length} bytes; at most {} are allowed",
                    self.content
                )));
            }
            let (message, profile) = convert::live(message)?;
            let envelope = Envelope::new(Arc::new(message), Arc::new(profile), 0);
            owner.offer_live(Seq::ZERO, &Arc::new(envelope));
            return Ok(());
        }
        if let Some(head) = self.logic.heads(&[user]).await?.first() {
            hub.hint(user, head.head);
        }
        Ok(())
    }
}

#[async_trait]
impl ConnectInt for ConnectIntService {
    async fn deliver_message(
        &self,
        request: Request<pb::DeliverMessageReq>,
    ) -> Result<Response<Empty>, Status> {
        self.deliver(request.into_inner()).await.map_err(status)?;
        Ok(Response::new(Empty {}))
    }
}
