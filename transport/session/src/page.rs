//! Encodes the answer to SYNC: as much of a page as the frame can carry.

use bytes::{BufMut, Bytes, BytesMut};
use gimlet_core::envelope::Envelope;
use gimlet_core::gateway::SyncPage;
use gimlet_core::seq::Seq;
use gimlet_proto::pb;
use prost::Message as _;

use crate::body::MessageBody;
use crate::encode::{self, MAX_FRAME_LEN};
use crate::protobuf::{delimited_len, put_len};

/// Bytes that a legacy TCP client can read at once: its buffer holds 1,024 with the two-byte
/// length.
const LEGACY_FRAME_LEN: usize = 1_022;

/// Encoded size of `has_more` when it is set.
const HAS_MORE_LEN: usize = 2;

/// The encoded frame and a summary of its content.
#[derive(Debug)]
pub(crate) struct SyncAnswer {
    pub(crate) frame: Bytes,
    /// Seq of the last message in the frame, if it has one.
    pub(crate) last: Option<Seq>,
    /// Position up to which every entry is in the frame or needs no sending.
    pub(crate) upto: Seq,
    /// True if entries follow after this page.
    pub(crate) more: bool,
}

/// Logs that a message was left out.
pub(crate) fn note_skipped(envelope: &Envelope) {
    gimlet_core::error_rated!(
        message = %envelope.message.id,
        "message exceeds the frame limit, skipped"
    );
}

/// Cuts the page to what the frame can carry, but keeps at least one message, and encodes it.
pub(crate) fn answer(page: &SyncPage, request_id: i64, extended: bool, legacy: bool) -> SyncAnswer {
    let budget = if legacy {
        LEGACY_FRAME_LEN
    } else {
        MAX_FRAME_LEN
    };
    let ours = extension_output(page, extended);
    let around = ours.encoded_len();
    let fits = |length: usize, more: bool, budget: usize| {
        let data = length + around + if more { HAS_MORE_LEN } else { 0 };
        encode::answer_len(request_id, data) <= budget
    };
    let mut bodies = Vec::with_capacity(page.items.len());
    let mut length = 0;
    let mut upto = page.upto;
    let mut more = page.more;
    let mut items = page.items.iter().peekable();
    while let Some((seq, envelope)) = items.next() {
        let behind = page.more || items.peek().is_some();
        let mut body = body(envelope, true, extended);
        // The largest frame is what bounds a single message; `budget`, which is smaller for a
        // legacy client, bounds only what is added to a message that is already in the page.
        if !fits(item_len(&body, *seq, extended), behind, MAX_FRAME_LEN) {
            body = self::body(envelope, false, extended);
        }
        let item = item_len(&body, *seq, extended);
        if !fits(item, behind, MAX_FRAME_LEN) {
            note_skipped(envelope);
            continue;
        }
        if let Some((last, _)) = bodies
            .last()
            .filter(|_| !fits(length + item, behind, budget))
        {
            upto = *last;
            more = true;
            break;
        }
        length += item;
        bodies.push((*seq, body));
    }
    let rest = pb::SyncOutput {
        has_more: more,
        ..ours
    };
    let data = length + rest.encoded_len();
    let mut frame = BytesMut::with_capacity(encode::answer_len(request_id, data));
    encode::put_answer(&mut frame, pb::PackageType::PtSync, request_id, data);
    for (seq, body) in &bodies {
        frame.put_u8(0x0a);
        put_len(&mut frame, body.len(*seq, extended));
        body.put(&mut frame, *seq, extended);
    }
    frame.put_slice(&rest.encode_to_vec());
    SyncAnswer {
        frame: frame.freeze(),
        last: bodies.last().map(|(seq, _)| *seq),
        upto,
        more,
    }
}

/// Returns the message of an item. gim does not name the sending device in a page, and its clients
/// do not get it from us either.
fn body(envelope: &Envelope, profile: bool, extended: bool) -> MessageBody<'_> {
    let profile = profile.then_some(&*envelope.profile);
    MessageBody::new(&envelope.message, profile, extended)
}

/// Returns our additive fields of the answer; empty for a client of gim.
fn extension_output(page: &SyncPage, extended: bool) -> pb::SyncOutput {
    if !extended {
        return pb::SyncOutput::default();
    }
    pb::SyncOutput {
        epoch: page.epoch.0,
        head: page.head.head.to_wire(),
        floor: page.head.floor.to_wire(),
        ..pb::SyncOutput::default()
    }
}

/// Encoded size of a message as an item of the page.
fn item_len(body: &MessageBody<'_>, seq: Seq, extended: bool) -> usize {
    1 + delimited_len(body.len(seq, extended))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gimlet_core::id::{Epoch, UserId};
    use gimlet_core::message::MessageReceiver;
    use gimlet_core::store::Head;

    use super::*;
    use crate::encode::tests::envelope;

    fn page(sizes: &[usize], more: bool) -> SyncPage {
        let to = MessageReceiver::User(UserId::new(3).unwrap());
        let items: Vec<(Seq, Arc<Envelope>)> = (1..)
            .zip(sizes)
            .map(|(n, size)| {
                (
                    Seq::new(n),
                    Arc::new(envelope(to, 1_652_227_200_000, *size)),
                )
            })
            .collect();
        SyncPage {
            from: Seq::ZERO,
            upto: Seq::new(items.len() as u64),
            items,
            more,
            epoch: Epoch(u64::MAX),
            head: Head {
                head: Seq::new(1000),
                floor: Seq::ZERO,
            },
        }
    }

    fn read(answer: &SyncAnswer) -> pb::SyncOutput {
        let output = pb::Output::decode(answer.frame.clone()).unwrap();
        assert_eq!((output.r#type, output.request_id, output.code), (2, 9, 0));
        pb::SyncOutput::decode(output.data).unwrap()
    }

    #[test]
    fn a_page_that_fits_is_sent_whole() {
        let answer = answer(&page(&[10, 10, 10], false), 9, true, false);
        let output = read(&answer);
        assert_eq!(output.messages.len(), 3);
        assert_eq!(
            (output.has_more, output.head, output.epoch),
            (false, 1000, u64::MAX)
        );
        assert_eq!((answer.upto, answer.more), (Seq::new(3), false));
    }

    #[test]
    fn a_page_is_cut_where_the_frame_ends_and_not_before() {
        for size in 0..1200 {
            let sizes = vec![size; 20];
            for (extended, legacy, budget) in [(false, true, 1022), (true, false, 65_535)] {
                let page = page(&sizes, false);
                let answer = answer(&page, 9, extended, legacy);
                let output = read(&answer);
                let sent = output.messages.len();
                assert!(sent == 1 || answer.frame.len() <= budget, "{size}");
                assert_eq!(answer.upto, Seq::new(sent as u64));
                assert_eq!(output.has_more, sent < 20);
                assert_eq!(output.has_more, answer.more);
                let first = body(&page.items[0].1, true, extended);
                let next = item_len(&first, Seq::new(20), extended);
                assert!(
                    sent == 20 || answer.frame.len() + next + 2 > budget,
                    "{size}"
                );
            }
        }
    }

    #[test]
    fn the_largest_message_fits_and_one_that_cannot_is_left_out() {
        let answer = self::answer(&page(&[61_440, 10], false), 9, true, false);
        assert_eq!(read(&answer).messages.len(), 2);
        let answer = self::answer(&page(&[66_000, 10], false), 9, true, false);
        assert_eq!(read(&answer).messages.len(), 1);
        assert_eq!(answer.upto, Seq::new(2));
    }
}
