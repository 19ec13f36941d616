//! Runs with contents of their own: sends with receivers of their own, and inboxes that are read.

use std::sync::Arc;

use crate::audience::{PlannedSend, StreamAudience};
use crate::records::{InboxHistory, InboxRecord, ReadEntry, SendId, digest};
use crate::{DeliveryJudge, FindingKind, JudgeFindings, ReceiverId};

impl DeliveryJudge {
    /// Returns the receiver that stands for a user's inbox.
    pub(crate) fn inbox(&mut self, user: i64) -> ReceiverId {
        self.inbox_above(user, 0)
    }

    /// Returns the receiver that stands for a user's inbox. An inbox that is new to the judge is read
    /// above this seq.
    pub fn inbox_above(&mut self, user: i64, base: i64) -> ReceiverId {
        if let Some(inbox) = self.inbox_ids.get(&user) {
            return *inbox;
        }
        let inbox = self.receiver(0);
        self.inbox_ids.insert(user, inbox);
        let history = InboxHistory {
            base,
            ..InboxHistory::default()
        };
        self.inboxes.insert(inbox, history);
        inbox
    }

    fn inboxes_of(&mut self, users: &[i64]) -> Arc<[ReceiverId]> {
        let mut inboxes: Vec<_> = users.iter().map(|user| self.inbox(*user)).collect();
        inboxes.sort_unstable();
        inboxes.dedup();
        inboxes.into()
    }

    /// Records a send before it is made, with the users whose inboxes may get it. The sends of one
    /// sender are in order: each is made after the answer to the one before, or after it on the same
    /// connection. No two sends of a run have the same content.
    pub fn begin_send(&mut self, sender: u64, content: &[u8], allowed: &[i64]) -> SendId {
        let known = self.senders.get(&sender).copied();
        let stream = known.unwrap_or_else(|| {
            let stream = self.add_stream(None, StreamAudience::PerSend(Vec::new()));
            self.senders.insert(sender, stream);
            stream
        });
        let send = PlannedSend {
            allowed: self.inboxes_of(allowed),
            ..PlannedSend::default()
        };
        let mut number = 0;
        if let Some(state) = self.streams.get_mut(stream as usize)
            && let StreamAudience::PerSend(sends) = &mut state.audience
        {
            sends.push(send);
            number = state.sent;
            state.sent += 1;
        }
        let id = SendId { stream, number };
        if self.contents.insert(digest(content), id).is_some() {
            self.note(FindingKind::Connection, || {
                format!("the run sent the content of number {number} of stream {stream} before")
            });
        }
        id
    }

    /// Records an answered send and the users whose inboxes must have it. The answer to a repeat names
    /// the same message.
    pub fn confirm_send(&mut self, content: &[u8], message_id: Option<&[u8]>, required: &[i64]) {
        let Some(id) = self.send_of(content) else {
            self.note(FindingKind::Connection, || {
                format!("an answer to a send that was not made: message {message_id:?}")
            });
            return;
        };
        let required = self.inboxes_of(required);
        let SendId { stream, number } = id;
        let Some(send) = self.planned_mut(id) else {
            return;
        };
        send.required = required;
        let is_first = !std::mem::replace(&mut send.answered, true);
        if is_first {
            self.answered(stream);
        }
        let Some(message_id) = message_id else { return };
        let other = self.answers.insert(message_id.to_vec(), id);
        if other.is_some_and(|other| other != id) {
            self.note(FindingKind::Connection, || {
                format!("number {number} of stream {stream} has the message id of another send")
            });
        } else if other.is_none() && !is_first {
            self.note(FindingKind::Doubled, || {
                format!("the repeat of number {number} of stream {stream} has another message id")
            });
        }
    }

    /// Records that the answer to a send named this seq of a user's inbox.
    pub fn confirm_seq(&mut self, content: &[u8], user: i64, seq: i64) {
        let inbox = self.inbox(user);
        self.answered_seqs.push((inbox, seq, digest(content)));
    }

    /// Finds the answers whose seq is another entry's. Seqs that were not read yet are not judged.
    pub(crate) fn wrong_seqs(&self, findings: &mut JudgeFindings) {
        for (inbox, seq, digest) in &self.answered_seqs {
            let entry = self.inboxes.get(inbox).and_then(|it| it.entry(*seq));
            if entry.is_some_and(|entry| entry.digest != *digest) {
                findings.add(FindingKind::Damaged, || {
                    format!("a send was answered with seq {seq} of inbox {inbox}, another entry's")
                });
            }
        }
    }

    /// Returns the send with this content.
    #[must_use]
    pub fn send_of(&self, content: &[u8]) -> Option<SendId> {
        self.contents.get(&digest(content)).copied()
    }

    fn planned_mut(&mut self, id: SendId) -> Option<&mut PlannedSend> {
        match &mut self.streams.get_mut(id.stream as usize)?.audience {
            StreamAudience::Listeners(_) => None,
            StreamAudience::PerSend(sends) => sends.get_mut(id.number as usize),
        }
    }

    /// Returns true if the send may be in this inbox.
    pub(crate) fn is_allowed(&self, inbox: ReceiverId, id: SendId) -> bool {
        let stream = self.streams.get(id.stream as usize);
        stream.is_some_and(|it| it.audience.allows(inbox, id.number))
    }

    /// Returns the last checked seq of this user's inbox: the next page starts there.
    #[must_use]
    pub fn seen(&self, user: i64) -> i64 {
        let inbox = self.inbox_ids.get(&user);
        let inbox = inbox.and_then(|id| self.inboxes.get(id));
        inbox.map_or(0, InboxHistory::last)
    }

    /// Returns whether this user's inbox has the send with this content.
    #[must_use]
    pub fn has(&self, user: i64, content: &[u8]) -> bool {
        let inbox = self.inbox_ids.get(&user);
        let found = inbox.zip(self.send_of(content));
        found.is_some_and(|(inbox, id)| self.has_observed(*inbox, id.stream, id.number))
    }

    /// Checks the next entries of a user's inbox, which were read above [`seen`](Self::seen).
    pub fn read<'a>(&mut self, user: i64, entries: impl IntoIterator<Item = InboxRecord<'a>>) {
        let inbox = self.inbox(user);
        for record in entries {
            self.entries += 1;
            self.read_one(user, inbox, &record);
        }
    }

    fn read_one(&mut self, user: i64, inbox: ReceiverId, record: &InboxRecord<'_>) {
        let seq = record.seq;
        let digest = digest(record.content);
        let Some(history) = self.inboxes.get_mut(&inbox) else {
            return;
        };
        let last = history.last();
        if seq > last {
            history.entries.push(ReadEntry {
                seq,
                digest,
                device: record.device,
            });
        }
        let before = history.seqs.insert(record.message_id.to_vec(), seq);
        if seq != last + 1 {
            let kind = if seq > last {
                FindingKind::Hole
            } else {
                FindingKind::Seq
            };
            self.note(kind, || {
                format!("inbox of user {user}: entry {seq} comes after {last}")
            });
        }
        // Messages of other programs and of the system are recognised by their ids only: two system
        // messages about the same change have the same content.
        let sent = self.contents.get(&digest).copied();
        let answered = self.answers.get(record.message_id).copied();
        if answered.is_some() && sent != answered {
            self.note(FindingKind::Damaged, || {
                format!("inbox of user {user}: the content of {seq} differs from the sent content")
            });
        }
        if let Some(before) = before {
            self.note(FindingKind::Doubled, || {
                format!("inbox of user {user}: one message is at {before} and at {seq}")
            });
        } else if let Some(SendId { stream, number }) = answered.or(sent) {
            self.deliver(inbox, stream, number);
        }
    }

    /// Compares entries that are read a second time with the first time: an entry never changes.
    pub fn read_again<'a>(
        &mut self,
        user: i64,
        entries: impl IntoIterator<Item = InboxRecord<'a>>,
    ) {
        let inbox = self.inbox(user);
        for record in entries {
            self.entries += 1;
            let seq = record.seq;
            let entry = self.inboxes.get(&inbox).and_then(|it| it.entry(seq));
            let same = entry.is_some_and(|entry| entry.digest == digest(record.content));
            if !same {
                self.note(FindingKind::Damaged, || {
                    format!("inbox of user {user}: entry {seq} differs from what was read before")
                });
            }
        }
    }
}
