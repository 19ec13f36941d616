//! Batches of room messages that were published close together: handed to each member as one item,
//! and encoded once for all members.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::frame_form::FrameForm;
use crate::id::RoomId;
use crate::store::RoomItem;

/// Largest batch of more than one message, in bytes.
const MAX_ROOM_BATCH_BYTES: usize = 32 * 1024;

/// Consecutive items of one stream of a room, in the order of their seqs; at least one.
#[derive(Debug)]
pub struct RoomBatch {
    first: Arc<RoomItem>,
    items: Vec<Arc<RoomItem>>,
    weight: usize,
    shared: bool,
    frames: [OnceLock<Vec<Bytes>>; FrameForm::COUNT],
}

impl RoomBatch {
    /// Splits these items into batches, in this order. A new batch begins where the stream changes,
    /// where the seq does not increase, and where the next item would exceed the size limit.
    pub(crate) fn of(items: &[Arc<RoomItem>]) -> Vec<Arc<Self>> {
        let mut bytes = 0;
        let together = |before: &Arc<RoomItem>, next: &Arc<RoomItem>| {
            bytes += before.envelope.weight();
            let fits = bytes + next.envelope.weight() <= MAX_ROOM_BATCH_BYTES;
            let goes_on = before.stream == next.stream && before.seq < next.seq;
            if !(fits && goes_on) {
                bytes = 0;
            }
            fits && goes_on
        };
        items.chunk_by(together).filter_map(Self::new).collect()
    }

    fn new(items: &[Arc<RoomItem>]) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            first: Arc::clone(items.first()?),
            items: items.to_vec(),
            weight: items.iter().map(|item| item.envelope.weight()).sum(),
            shared: items.iter().all(|item| item.envelope.request_id == 0),
            frames: Default::default(),
        }))
    }

    /// Returns the room.
    #[must_use]
    pub fn room(&self) -> RoomId {
        self.first.room
    }

    pub(crate) const fn first(&self) -> &Arc<RoomItem> {
        &self.first
    }

    pub(crate) fn last(&self) -> &Arc<RoomItem> {
        self.items.last().unwrap_or(&self.first)
    }

    /// Returns the items, ascending.
    #[must_use]
    pub fn items(&self) -> &[Arc<RoomItem>] {
        &self.items
    }

    /// Returns `true` if all members get the same bytes: no item carries a `request_id`.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Returns the cost in bytes in a bounded queue.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Returns the frames, which the wire makes on first use, in one form for all members that have
    /// it. An item that exceeds the frame limit has no frame.
    pub fn frames(
        &self,
        form: FrameForm,
        encode: impl FnMut(&Arc<RoomItem>) -> Option<Bytes>,
    ) -> &[Bytes] {
        let [legacy, extension, json] = &self.frames;
        let slot = match form {
            FrameForm::Legacy => legacy,
            FrameForm::Extension => extension,
            FrameForm::Json => json,
        };
        slot.get_or_init(|| self.items.iter().filter_map(encode).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::id::MessageId;
    use crate::message::{
        Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
    };
    use crate::seq::Seq;
    use crate::store::StreamId;
    use crate::time::UnixTimestamp;

    fn item(stream: u64, seq: u64, bytes: usize) -> Arc<RoomItem> {
        let room = RoomId::new(1).unwrap();
        let message = Message {
            id: MessageId::generate(),
            sender: MessageSender::Business,
            receiver: MessageReceiver::Room(room),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent(vec![b'x'; bytes].into()),
            sent_at: UnixTimestamp(0),
            unknown: UnknownFields::NONE,
        };
        let envelope = Envelope::new(Arc::new(message), Arc::new(UserProfile::default()), 0);
        Arc::new(RoomItem {
            room,
            stream: StreamId(stream),
            seq: Seq::new(seq),
            envelope: Arc::new(envelope),
        })
    }

    fn batches(items: &[Arc<RoomItem>]) -> Vec<Vec<u64>> {
        let batches = RoomBatch::of(items);
        for batch in &batches {
            let weights = batch.items().iter().map(|it| it.envelope.weight());
            assert_eq!(batch.weight(), weights.sum::<usize>());
            assert!(batch.weight() <= MAX_ROOM_BATCH_BYTES || batch.items().len() == 1);
        }
        let seqs = |batch: &Arc<RoomBatch>| batch.items().iter().map(|it| it.seq.get()).collect();
        batches.iter().map(seqs).collect()
    }

    #[test]
    fn what_follows_on_goes_together() {
        let items: Vec<_> = (1..=64).map(|seq| item(1, seq, 100)).collect();
        assert_eq!(batches(&items), [(1..=64).collect::<Vec<_>>()]);
        assert_eq!(batches(&[]), [[0; 0]; 0]);
    }

    #[test]
    fn another_stream_or_a_step_back_begins_anew() {
        let items = [(1, 7), (1, 9), (2, 10), (2, 10), (2, 11)];
        let items = items.map(|(stream, seq)| item(stream, seq, 100));
        let want = [vec![7, 9], vec![10], vec![10, 11]];
        assert_eq!(batches(&items), want);
    }

    #[test]
    fn a_batch_is_bounded_but_for_a_single_message() {
        let sizes = [20_000, 10_000, 10_000, 60_000, 10];
        let items: Vec<_> = (1..)
            .zip(sizes)
            .map(|(seq, size)| item(1, seq, size))
            .collect();
        assert_eq!(batches(&items), [vec![1, 2], vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn its_frames_are_made_once_for_each_form() {
        let batch = &RoomBatch::of(&[item(1, 1, 1), item(1, 2, 1), item(1, 3, 1)])[0];
        let mut made = 0;
        let forms = [FrameForm::Legacy, FrameForm::Extension, FrameForm::Json];
        for (form, byte) in forms.into_iter().zip(0..).chain(forms.into_iter().zip(0..)) {
            let frames = batch.frames(form, |item| {
                made += 1;
                let two = item.seq.get() == 2;
                (!two).then(|| Bytes::from(vec![byte]))
            });
            assert_eq!(
                frames.concat(),
                [byte; 2],
                "one item exceeds the frame limit"
            );
        }
        assert_eq!(made, 9);
    }
}
