//! The frames of a connection in its own form: protobuf for clients of gim, protobuf with our fields, or
//! JSON.
//!
//! This is the only place that knows all forms. The session decides what is answered and delivered, and
//! asks here for the frame; so no rule can depend on the form.

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::error::RequestRefusal;
use gimlet_core::frame_form::FrameForm;
use gimlet_core::gateway::SyncPage;
use gimlet_core::id::Epoch;
use gimlet_core::send_future::SendReceipt;
use gimlet_core::seq::Seq;
use gimlet_core::store::RoomItem;
use gimlet_proto::pb::{self, PackageType};

use crate::close::ConnectionClose;
use crate::dispatch::ClientPacket;
use crate::link::FrameCodec;
use crate::page::{self, SyncAnswer};
use crate::{convert, encode, json};

/// A frame that is not a packet: the answer to it, and the request id that the answer repeats.
#[derive(Debug)]
pub(crate) struct UnreadableFrame {
    pub(crate) refusal: RequestRefusal,
    pub(crate) request_id: i64,
}

/// Reads a frame as a packet.
pub(crate) fn read(codec: FrameCodec, frame: Bytes) -> Result<ClientPacket, UnreadableFrame> {
    match codec {
        FrameCodec::Protobuf => ClientPacket::read(frame).map_err(|refusal| UnreadableFrame {
            refusal,
            request_id: 0,
        }),
        FrameCodec::Json => json::read(&frame).map_err(|(refusal, request_id)| UnreadableFrame {
            refusal,
            request_id,
        }),
    }
}

/// Encodes the answer to a sign-in.
pub(crate) fn signed_in(form: FrameForm, id: i64, epoch: Epoch, head: Seq) -> Bytes {
    let data = match form {
        FrameForm::Json => return json::signed_in(id, epoch, head),
        FrameForm::Legacy => Bytes::new(),
        FrameForm::Extension => encoded(&pb::SignInOutput {
            epoch: epoch.0,
            head: head.to_wire(),
        }),
    };
    encode::answer(PackageType::PtSignIn.into(), id, data)
}

/// Encodes the answer to a heartbeat.
pub(crate) fn heartbeat(form: FrameForm, id: i64, epoch: Epoch, head: Seq) -> Bytes {
    let data = match form {
        FrameForm::Json => return json::heartbeat(id, epoch, head),
        FrameForm::Legacy => Bytes::new(),
        FrameForm::Extension => encoded(&pb::HeartbeatOutput {
            epoch: epoch.0,
            head: head.to_wire(),
        }),
    };
    encode::answer(PackageType::PtHeartbeat.into(), id, data)
}

/// Encodes the answer to a subscription.
pub(crate) fn subscribed(form: FrameForm, id: i64) -> Bytes {
    match form {
        FrameForm::Json => json::subscribed(id),
        FrameForm::Legacy | FrameForm::Extension => {
            encode::answer(PackageType::PtSubscribeRoom.into(), id, Bytes::new())
        }
    }
}

/// Encodes the answer to a send.
pub(crate) fn sent(form: FrameForm, id: i64, sent: &SendReceipt) -> Bytes {
    match form {
        FrameForm::Json => json::sent(id, sent),
        FrameForm::Legacy | FrameForm::Extension => {
            let data = encoded(&convert::sent(sent));
            encode::answer(PackageType::PtSend.into(), id, data)
        }
    }
}

/// Encodes a refusal.
pub(crate) fn refusal(form: FrameForm, kind: i32, id: i64, refusal: &RequestRefusal) -> Bytes {
    match form {
        FrameForm::Json => json::refusal(kind, id, refusal),
        FrameForm::Legacy | FrameForm::Extension => encode::refusal(kind, id, refusal),
    }
}

/// Encodes a page of the inbox, cut to what a frame can carry. A paced client gets small pages.
pub(crate) fn page(form: FrameForm, page: &SyncPage, id: i64, is_paced: bool) -> SyncAnswer {
    match form {
        FrameForm::Json => json::synced(page, id),
        FrameForm::Legacy | FrameForm::Extension => {
            page::answer(page, id, form.is_extended(), is_paced)
        }
    }
}

/// Encodes a pushed message; `None` if it exceeds the frame limit.
pub(crate) fn push(form: FrameForm, envelope: &Envelope, seq: Seq, id: i64) -> Option<Bytes> {
    match form {
        FrameForm::Json => json::push(envelope, seq, id),
        FrameForm::Legacy | FrameForm::Extension => {
            encode::push(envelope, seq, id, form.is_extended())
        }
    }
}

/// Encodes a room message as the one frame for all subscribers with this form.
pub(crate) fn room_push(form: FrameForm, item: &RoomItem) -> Option<Bytes> {
    match form {
        FrameForm::Json => json::room_push(item),
        FrameForm::Legacy | FrameForm::Extension => encode::room_push(item, form.is_extended()),
    }
}

/// Encodes the last frame, which says why the connection is closed; clients of gim know none.
pub(crate) fn close(form: FrameForm, close: &ConnectionClose) -> Option<Bytes> {
    match form {
        FrameForm::Legacy => None,
        FrameForm::Extension => Some(close.frame()),
        FrameForm::Json => Some(json::closed(close)),
    }
}

fn encoded(data: &impl prost::Message) -> Bytes {
    data.encode_to_vec().into()
}
