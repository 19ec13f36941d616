//! `LogicInt`: calls of business backends, and of gim's connect nodes, to the logic role.
//!
//! gimlet's own nodes do not use it among themselves, so a method that only made sense between
//! gim's nodes does nothing here, or answers that it is not supported.

use gimlet_core::error::RequestRefusal;
use gimlet_core::logic::LogicRole as _;
use gimlet_core::message::{MessageContent, MessageSender};
use gimlet_core::seq::Seq;
use gimlet_core::service::LogicService;
use gimlet_proto::pb::logic_int_server::LogicInt;
use gimlet_proto::pb::{self, Empty};
use tonic::{Request, Response, Status, async_trait};

use crate::convert;
use crate::status::status;

/// The internal services of the logic role.
#[derive(Clone, Debug)]
pub(super) struct LogicIntService {
    service: LogicService,
}

impl LogicIntService {
    pub(super) const fn new(service: LogicService) -> Self {
        Self { service }
    }

    async fn conn_sign_in(&self, req: pb::ConnSignInReq) -> Result<Empty, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let device = convert::device("device_id", req.device_id)?;
        let from = Seq::ZERO;
        self.service.sign_in(user, device, &req.token, from).await?;
        Ok(Empty {})
    }

    /// Returns a page after `seq`; 0 is everything that is kept.
    async fn sync(&self, req: pb::SyncReq) -> Result<pb::SyncResp, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let after = convert::seq("seq", req.seq)?;
        let page = self.service.inbox_page(user, after, None).await?;
        let messages = page.items.iter();
        Ok(pb::SyncResp {
            messages: messages
                .map(|(seq, envelope)| convert::entry(*seq, envelope))
                .collect(),
            has_more: page.more,
        })
    }

    /// Records an ack; 0 and less are ignored, as in gim.
    async fn ack(&self, req: pb::MessageAckReq) -> Result<Empty, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let device = convert::device("device_id", req.device_id)?;
        if req.device_ack <= 0 {
            return Ok(Empty {});
        }
        let acked = convert::seq("device_ack", req.device_ack)?;
        self.service.ack_up_to_head(user, device, acked).await?;
        Ok(Empty {})
    }

    async fn send(
        &self,
        req: pb::SendMessageReq,
        request_id: Option<i64>,
    ) -> Result<pb::SendMessageResp, RequestRefusal> {
        let draft = convert::draft(req, request_id)?;
        let sent = self.service.send(MessageSender::Business, draft).await?;
        Ok(convert::sent(&sent))
    }

    async fn push_room(&self, req: pb::PushRoomReq) -> Result<Empty, RequestRefusal> {
        let draft = convert::room_draft(&req)?;
        self.service
            .push_room(MessageSender::Business, draft)
            .await?;
        Ok(Empty {})
    }

    async fn push_all(&self, req: pb::PushAllReq) -> Result<Empty, RequestRefusal> {
        let content = MessageContent::copied_from(&req.message_content);
        self.service
            .push_all(MessageSender::Business, req.message_type, content)
            .await?;
        Ok(Empty {})
    }

    async fn device(&self, req: pb::GetDeviceReq) -> Result<pb::GetDeviceResp, RequestRefusal> {
        let device = convert::device("device_id", req.device_id)?;
        let (device, route) = self.service.device(device).await?;
        Ok(pb::GetDeviceResp {
            device: Some(convert::device_info(device, route)),
        })
    }

    async fn disconnect(&self, req: pb::DisconnectReq) -> Result<Empty, RequestRefusal> {
        let user = convert::user("user_id", req.user_id)?;
        let device = match req.device_id {
            0 => None,
            device => Some(convert::device("device_id", device)?),
        };
        let service = &self.service;
        service.disconnect(user, device, &req.reason).await?;
        Ok(Empty {})
    }
}

fn reply<T>(result: Result<T, RequestRefusal>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(status)
}

#[async_trait]
impl LogicInt for LogicIntService {
    async fn conn_sign_in(
        &self,
        request: Request<pb::ConnSignInReq>,
    ) -> Result<Response<Empty>, Status> {
        reply(Self::conn_sign_in(self, request.into_inner()).await)
    }

    async fn sync(&self, request: Request<pb::SyncReq>) -> Result<Response<pb::SyncResp>, Status> {
        reply(Self::sync(self, request.into_inner()).await)
    }

    async fn message_ack(
        &self,
        request: Request<pb::MessageAckReq>,
    ) -> Result<Response<Empty>, Status> {
        reply(self.ack(request.into_inner()).await)
    }

    /// Does nothing: a route ends with its connection and its generation. This call does not know
    /// the generation, so it could only harm a newer connection (gim-defects C-3).
    async fn offline(&self, _request: Request<pb::OfflineReq>) -> Result<Response<Empty>, Status> {
        reply(Ok(Empty {}))
    }

    async fn subscribe_room(
        &self,
        _request: Request<pb::SubscribeRoomReq>,
    ) -> Result<Response<Empty>, Status> {
        reply(Err(RequestRefusal::Unsupported(
            "a device follows a room over its own connection; send PT_SUBSCRIBE_ROOM there",
        )))
    }

    async fn send_message(
        &self,
        request: Request<pb::SendMessageReq>,
    ) -> Result<Response<pb::SendMessageResp>, Status> {
        let request_id = request.metadata().get("request_id");
        let request_id = request_id.and_then(|id| id.to_str().ok()?.parse().ok());
        reply(self.send(request.into_inner(), request_id).await)
    }

    async fn push_room(
        &self,
        request: Request<pb::PushRoomReq>,
    ) -> Result<Response<Empty>, Status> {
        reply(Self::push_room(self, request.into_inner()).await)
    }

    async fn push_all(&self, request: Request<pb::PushAllReq>) -> Result<Response<Empty>, Status> {
        reply(Self::push_all(self, request.into_inner()).await)
    }

    async fn get_device(
        &self,
        request: Request<pb::GetDeviceReq>,
    ) -> Result<Response<pb::GetDeviceResp>, Status> {
        reply(self.device(request.into_inner()).await)
    }

    /// Does nothing: a stopped node's routes end with its lease (law 8).
    async fn server_stop(
        &self,
        _request: Request<pb::ServerStopReq>,
    ) -> Result<Response<Empty>, Status> {
        reply(Ok(Empty {}))
    }

    async fn disconnect(
        &self,
        request: Request<pb::DisconnectReq>,
    ) -> Result<Response<Empty>, Status> {
        reply(Self::disconnect(self, request.into_inner()).await)
    }
}
