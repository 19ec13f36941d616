//! Conversions between core's values and their records between nodes. A field that cannot be
//! decoded is named, never guessed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gimlet_core::delivery::DeliveryBatch;
use gimlet_core::envelope::Envelope;
use gimlet_core::logic::InboxPage;
use gimlet_core::message::{MessageContent, MessageDraft, MessageSender};
use gimlet_core::send_future::SendReceipt;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AckMark, Head};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::node::{self, Plain, parcel};

mod fields;
mod legacy;

pub(crate) use fields::{DecodeError, device, user, users};

use fields::{mentions_out, message_id, receiver_in, receiver_out, sender_in, sender_out};

/// Converts to whole milliseconds, at least one: 0 means that the time is not known.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The form in which a node reads messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageForm {
    /// `gimlet.store.v1.Envelope`, with all that was stored.
    Record,
    /// `gimlet.node.v1.Envelope`, for nodes of a release that does not read records.
    Legacy,
}

impl MessageForm {
    /// Returns the form for a node that does, or does not, read records.
    pub(super) const fn of(accepts_record: bool) -> Self {
        if accepts_record {
            Self::Record
        } else {
            Self::Legacy
        }
    }
}

/// Encodes an envelope into its two fields, one of which stays empty.
fn envelope_out(envelope: &Envelope, form: MessageForm) -> (Option<node::Envelope>, Bytes) {
    match form {
        MessageForm::Record => (None, gimlet_record::encode_envelope(envelope).into()),
        MessageForm::Legacy => (Some(legacy::envelope_out(envelope)), Bytes::new()),
    }
}

/// Decodes an envelope from its two fields. A record takes precedence.
fn envelope_in(legacy: Option<node::Envelope>, record: &[u8]) -> Result<Envelope, DecodeError> {
    if record.is_empty() {
        return legacy::envelope_in(legacy.ok_or(DecodeError("envelope"))?);
    }
    gimlet_record::decode_envelope(record).map_err(|error| DecodeError(error.field()))
}

pub(super) fn head_out(head: Head) -> node::Head {
    node::Head {
        head: head.head.get(),
        floor: head.floor.get(),
    }
}

pub(super) const fn head_in(head: &node::Head) -> Head {
    Head {
        head: Seq::new(head.head),
        floor: Seq::new(head.floor),
    }
}

pub(super) fn page_out(page: &InboxPage, form: MessageForm) -> node::PageReply {
    let entries = page.items.iter().map(|(seq, envelope)| {
        let (envelope, record) = envelope_out(envelope, form);
        node::Entry {
            seq: seq.get(),
            envelope,
            record,
        }
    });
    node::PageReply {
        refusal: None,
        head: Some(head_out(page.head)),
        entries: entries.collect(),
        more: page.more,
    }
}

pub(super) fn page_in(page: node::PageReply) -> Result<InboxPage, DecodeError> {
    let head = head_in(&page.head.ok_or(DecodeError("head"))?);
    let items = page.entries.into_iter();
    let items = items.map(|entry| {
        let envelope = envelope_in(entry.envelope, &entry.record)?;
        Ok((Seq::new(entry.seq), Arc::new(envelope)))
    });
    Ok(InboxPage {
        items: items.collect::<Result<_, DecodeError>>()?,
        more: page.more,
        head,
    })
}

pub(super) fn mark_out(mark: &AckMark) -> node::AckMark {
    node::AckMark {
        user: mark.user.get(),
        device: mark.device.get(),
        upto: mark.upto.get(),
    }
}

pub(super) fn mark_in(mark: &node::AckMark) -> Result<AckMark, DecodeError> {
    Ok(AckMark {
        user: user(mark.user)?,
        device: device(mark.device)?,
        upto: Seq::new(mark.upto),
    })
}

pub(super) fn send_out(id: u64, sender: MessageSender, draft: MessageDraft) -> node::SendRequest {
    // Without `..`: a field that is added to `MessageDraft` and not written here does not compile.
    let MessageDraft {
        receiver,
        mentions,
        kind,
        content,
        sent_at,
        persist,
        client_id,
        request_id,
    } = draft;
    node::SendRequest {
        id,
        sender: Some(sender_out(sender)),
        receiver: Some(receiver_out(receiver)),
        mentions: mentions_out(&mentions),
        kind,
        content: content.0,
        sent_at_ms: sent_at.0,
        persist,
        client_id,
        request_id,
    }
}

pub(super) fn send_in(
    send: node::SendRequest,
) -> Result<(MessageSender, MessageDraft), DecodeError> {
    let draft = MessageDraft {
        receiver: receiver_in(send.receiver)?,
        mentions: users(&send.mentions)?,
        kind: send.kind,
        content: MessageContent::copied_from(&send.content),
        sent_at: UnixTimestamp(send.sent_at_ms),
        persist: send.persist,
        client_id: send.client_id,
        request_id: send.request_id,
    };
    Ok((sender_in(send.sender)?, draft))
}

pub(super) fn sent_out(sent: &SendReceipt) -> node::Sent {
    node::Sent {
        seq: sent.seq.get(),
        message_id: sent.message.as_bytes().to_vec().into(),
        repeated: sent.repeated,
    }
}

pub(super) fn sent_in(sent: Option<node::Sent>) -> Result<SendReceipt, DecodeError> {
    let sent = sent.ok_or(DecodeError("sent"))?;
    Ok(SendReceipt {
        seq: Seq::new(sent.seq),
        message: message_id(&sent.message_id)?,
        repeated: sent.repeated,
    })
}

pub(super) fn batch_out(delivery: &DeliveryBatch, form: MessageForm) -> node::Parcel {
    let (envelope, to) = match delivery {
        DeliveryBatch::Entries { envelope, to } => {
            let places = node::Places {
                users: to.iter().map(|(user, _)| user.get()).collect(),
                seqs: to.iter().map(|(_, seq)| seq.get()).collect(),
            };
            (envelope, parcel::To::Entries(places))
        }
        DeliveryBatch::Live { envelope, to } => {
            let users = node::Users {
                users: mentions_out(to),
            };
            (envelope, parcel::To::Live(users))
        }
        DeliveryBatch::Everyone { envelope } => (envelope, parcel::To::Everyone(Plain {})),
    };
    let (envelope, record) = envelope_out(envelope, form);
    node::Parcel {
        envelope,
        to: Some(to),
        record,
    }
}

pub(super) fn batch_in(parcel: node::Parcel) -> Result<DeliveryBatch, DecodeError> {
    let envelope = Arc::new(envelope_in(parcel.envelope, &parcel.record)?);
    Ok(match parcel.to.ok_or(DecodeError("to"))? {
        parcel::To::Entries(places) => {
            if places.users.len() != places.seqs.len() {
                return Err(DecodeError("places"));
            }
            let to = places.users.iter().zip(places.seqs);
            let to = to.map(|(raw, seq)| Ok((user(*raw)?, Seq::new(seq))));
            DeliveryBatch::Entries {
                envelope,
                to: to.collect::<Result<_, DecodeError>>()?,
            }
        }
        parcel::To::Live(it) => DeliveryBatch::Live {
            envelope,
            to: users(&it.users)?,
        },
        parcel::To::Everyone(_) => DeliveryBatch::Everyone { envelope },
    })
}

/// Bytes that a delivery batch counts for in a bounded queue.
pub(super) fn batch_weight(delivery: &DeliveryBatch) -> usize {
    const ENTRY_BYTES: usize = 24;
    match delivery {
        DeliveryBatch::Entries { envelope, to } => envelope.weight() + to.len() * ENTRY_BYTES,
        DeliveryBatch::Live { envelope, to } => envelope.weight() + to.len() * ENTRY_BYTES,
        DeliveryBatch::Everyone { envelope } => envelope.weight(),
    }
}

#[cfg(test)]
mod tests;
