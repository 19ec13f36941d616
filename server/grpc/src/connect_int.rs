//! `ConnectInt`: calls of gim's logic nodes and of backends to the node that holds a device's
//! connection.

use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::ConnectGateway;
use gimlet_proto::pb::connect_int_server::ConnectInt;
use gimlet_proto::pb::{self, Empty};
use tonic::{Request, Response, Status, async_trait};

use crate::convert;
use crate::status::status;

/// The internal service of the connect role.
#[derive(Clone, Debug)]
pub(super) struct ConnectIntService {
    gateway: ConnectGateway,
}

impl ConnectIntService {
    pub(super) const fn new(gateway: ConnectGateway) -> Self {
        Self { gateway }
    }

    /// Delivers a message to a device.
    ///
    /// A message with a seq is only a hint: the entries are read from the inbox. A message with seq
    /// 0 is content of its own and is shown on the device. A device that is not connected here is
    /// not an error.
    async fn deliver(&self, req: pb::DeliverMessageReq) -> Result<(), RequestRefusal> {
        let device = convert::device("device_id", req.device_id)?;
        let message = req.message_send.and_then(|send| send.message);
        let message = message.ok_or_else(|| {
            RequestRefusal::bad("message_send.message is missing; send the message to deliver")
        })?;
        let user = match req.user_id {
            0 => None,
            user => Some(convert::user("user_id", user)?),
        };
        let Some(owner) = self.gateway.on_device(device, user)? else {
            return Ok(());
        };
        if message.seq == 0 {
            let (message, profile) = convert::live(message)?;
            return self.gateway.show(&owner, message, profile);
        }
        self.gateway.compare_head(owner.identity().user).await
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
