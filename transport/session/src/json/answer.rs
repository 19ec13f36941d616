//! Packets of the server as JSON texts.
//!
//! A message is written once for all its receivers (`gimlet_json::message_text`); each text puts the
//! receiver's seq in front of it. A message is left out, or shown without its sender's profile, exactly
//! where protobuf does so, because clients of both must get the same.

use std::fmt::Write as _;

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::SyncPage;
use gimlet_core::id::Epoch;
use gimlet_core::message::{MessageReceiver, UserProfile};
use gimlet_core::send_future::SendReceipt;
use gimlet_core::seq::Seq;
use gimlet_core::store::RoomItem;
use gimlet_json::{
    JsonObject, MAX_SAFE_NUMBER, MessageInfo, WholeNumber, message_id, message_text, to_text,
};
use gimlet_proto::pb::PackageType;
use serde_json::{Map, Value};

use super::packets::{
    CLOSE_WORD, ClosePacket, ErrorInfo, HeartbeatAnswer, LIVE_WORD, MESSAGE_WORD, ROOM_WORD,
    RefusalPacket, SendAnswer, SignInAnswer, SubscribeRoomAnswer, answer_word,
};
use crate::close::ConnectionClose;
use crate::encode::{self, MAX_FRAME_LEN};
use crate::page::{SyncAnswer, note_skipped};

/// Size of a page's text at which it takes no further message.
const MAX_PAGE_LEN: usize = MAX_FRAME_LEN;

/// Writes a packet of this type.
fn packet(word: &str, request_id: i64, fields: &impl JsonObject) -> Bytes {
    let mut packet = Map::new();
    fields.put(&mut packet);
    packet.insert("type".into(), word.into());
    if request_id != 0 {
        packet.insert("request_id".into(), request_id.into());
    }
    Value::Object(packet).to_string().into()
}

fn answer(kind: PackageType, request_id: i64, fields: &impl JsonObject) -> Bytes {
    packet(answer_word(kind.into()), request_id, fields)
}

/// Answers a sign-in.
pub(crate) fn signed_in(request_id: i64, epoch: Epoch, head: Seq) -> Bytes {
    let epoch = WholeNumber(epoch.0);
    answer(
        PackageType::PtSignIn,
        request_id,
        &SignInAnswer { epoch, head },
    )
}

/// Answers a heartbeat.
pub(crate) fn heartbeat(request_id: i64, epoch: Epoch, head: Seq) -> Bytes {
    let epoch = WholeNumber(epoch.0);
    let answered = HeartbeatAnswer { epoch, head };
    answer(PackageType::PtHeartbeat, request_id, &answered)
}

/// Answers a subscription.
pub(crate) fn subscribed(request_id: i64) -> Bytes {
    answer(
        PackageType::PtSubscribeRoom,
        request_id,
        &SubscribeRoomAnswer {},
    )
}

/// Answers a send.
pub(crate) fn sent(request_id: i64, sent: &SendReceipt) -> Bytes {
    let sent = SendAnswer {
        message_id: message_id(sent.message),
        seq: sent.seq,
        repeated: sent.repeated,
    };
    answer(PackageType::PtSend, request_id, &sent)
}

/// Refuses a packet of this kind.
pub(crate) fn refusal(kind: i32, request_id: i64, refusal: &RequestRefusal) -> Bytes {
    let refused = RefusalPacket {
        error: ErrorInfo {
            code: refusal.code(),
            detail: refusal.to_string(),
            retry_after_ms: Some(refusal.retry_after_ms()).filter(|it| *it > 0),
        },
    };
    packet(answer_word(kind), request_id, &refused)
}

/// Announces the end of the connection.
pub(crate) fn closed(close: &ConnectionClose) -> Bytes {
    let after = i64::try_from(close.after.as_millis()).unwrap_or(i64::MAX);
    let closed = ClosePacket {
        code: close.code.into(),
        reason: close.text.clone(),
        come_back: close.come_back().into(),
        retry_after_ms: Some(after).filter(|it| *it > 0),
    };
    packet(CLOSE_WORD, 0, &closed)
}

/// The text of a message: with its sender's profile, without it, or `None` if protobuf could not carry
/// it either.
fn carried(envelope: &Envelope, seq: Seq, request_id: i64) -> Option<CarriedText<'_>> {
    if encode::fits(envelope, true, seq, request_id) {
        return Some(CarriedText::Shared(message_text(envelope)));
    }
    encode::fits(envelope, false, seq, request_id).then(|| {
        let bare = MessageInfo::with_profile(&envelope.message, &UserProfile::default());
        CarriedText::Own(to_text(&bare))
    })
}

/// The text of a message.
enum CarriedText<'a> {
    /// The one that all receivers share.
    Shared(&'a str),
    /// One without the profile.
    Own(String),
}

impl CarriedText<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Shared(text) => text,
            Self::Own(text) => text,
        }
    }
}

/// Writes a pushed message; `None` if it exceeds the frame limit.
pub(crate) fn push(envelope: &Envelope, seq: Seq, request_id: i64) -> Option<Bytes> {
    let message = carried(envelope, seq, request_id)?;
    let message = message.as_str();
    let mut text = String::with_capacity(message.len() + 128);
    // Writing to a string cannot fail.
    let _ = match envelope.message.receiver {
        MessageReceiver::Room(room) => write!(
            text,
            r#"{{"type":"{ROOM_WORD}","room_id":"{}","seq":"{}""#,
            room.get(),
            seq.get()
        ),
        MessageReceiver::User(_) | MessageReceiver::Group(_) if seq > Seq::ZERO => {
            write!(text, r#"{{"type":"{MESSAGE_WORD}","seq":"{}""#, seq.get())
        }
        MessageReceiver::User(_) | MessageReceiver::Group(_) | MessageReceiver::Everyone => {
            write!(text, r#"{{"type":"{LIVE_WORD}""#)
        }
    };
    if request_id != 0 {
        // A backend's own id, which need not be one that JavaScript can represent.
        let quote = if request_id.unsigned_abs() > MAX_SAFE_NUMBER {
            "\""
        } else {
            ""
        };
        let _ = write!(text, r#","request_id":{quote}{request_id}{quote}"#);
    }
    text.push_str(r#","message":"#);
    text.push_str(message);
    text.push('}');
    Some(text.into())
}

/// Writes a room message as the one frame for all subscribers.
pub(crate) fn room_push(item: &RoomItem) -> Option<Bytes> {
    let frame = push(&item.envelope, item.seq, 0);
    if frame.is_none() {
        note_skipped(&item.envelope);
    }
    frame
}

/// Cuts a page to the size of one text, but keeps at least one message, and writes it.
pub(crate) fn synced(page: &SyncPage, request_id: i64) -> SyncAnswer {
    let mut entries = String::new();
    let (mut last, mut upto, mut more) = (None, page.upto, page.more);
    for (seq, envelope) in &page.items {
        let Some(message) = carried(envelope, *seq, request_id) else {
            note_skipped(envelope);
            continue;
        };
        let message = message.as_str();
        // What surrounds an entry and the page is below 256 bytes.
        if let Some(last) = last
            && entries.len() + message.len() + 256 > MAX_PAGE_LEN
        {
            (upto, more) = (last, true);
            break;
        }
        if last.is_some() {
            entries.push(',');
        }
        let _ = write!(entries, r#"{{"seq":"{}","message":{message}}}"#, seq.get());
        last = Some(*seq);
    }
    let word = answer_word(PackageType::PtSync.into());
    let id = if request_id == 0 {
        String::new()
    } else {
        format!(r#","request_id":{request_id}"#)
    };
    let frame = format!(
        r#"{{"type":"{word}"{id},"entries":[{entries}],"more":{more},"head":"{}","floor":"{}","epoch":"{}"}}"#,
        page.head.head.get(),
        page.head.floor.get(),
        page.epoch.0
    );
    SyncAnswer {
        frame: frame.into(),
        last,
        upto,
        more,
    }
}
