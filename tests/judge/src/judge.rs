//! Streams, receivers, and the check of every delivery.

use std::collections::{BTreeSet, HashMap};

use crate::audience::StreamAudience;
use crate::records::{InboxHistory, SendId, WatchedClient};
use crate::{FindingKind, JudgeFindings, MessageMark, ReceiverId, StreamId};

/// Destination of messages, by gim's receiver types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamDestination {
    /// A user.
    User(i64),
    /// The members of a group.
    Group(i64),
    /// The subscribers of a room.
    Room(i64),
}

impl StreamDestination {
    /// Returns the receiver type's number on the wire.
    #[must_use]
    pub const fn kind(self) -> u8 {
        match self {
            Self::User(_) => 1,
            Self::Group(_) => 2,
            Self::Room(_) => 3,
        }
    }

    /// Returns the id of the user, group or room.
    #[must_use]
    pub const fn id(self) -> i64 {
        match self {
            Self::User(id) | Self::Group(id) | Self::Room(id) => id,
        }
    }
}

/// Outcome of a send that was not answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// Refused as not stored: it must not be delivered.
    Refused,
    /// Unknown: it may have been stored.
    Unknown,
}

/// A message that a connection was pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushedMessage<'a> {
    /// Id of the sender; 0 for a system message.
    pub sender: i64,
    /// Receiver type on the wire.
    pub receiver_type: i32,
    /// Id of the user, group or room.
    pub receiver: i64,
    /// Position in the inbox or in the room; 0 if not numbered.
    pub seq: i64,
    /// Content of the message.
    pub content: &'a [u8],
}

#[derive(Debug)]
pub(crate) struct StreamState {
    /// Sender and destination; `None` if the stream's sends have different ones.
    header: Option<(i64, StreamDestination)>,
    pub(crate) audience: StreamAudience,
    pub(crate) sent: u32,
    answered: u32,
    failed: u32,
}

#[derive(Debug)]
struct ReceiverState {
    /// Streams of the receiver, ascending, each with the next number it waits for.
    next_numbers: Vec<(StreamId, u32)>,
    /// Seq before its first push.
    base: i64,
    /// Highest seq pushed to it.
    pushed: i64,
    /// Highest seq with which its own sends were answered.
    own: i64,
    /// Number of entries pushed to it, and of its own sends that were answered.
    entries: i64,
}

/// Push that passed the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedPush {
    /// Stream of the message.
    pub stream: StreamId,
    /// Number of the message in its stream.
    pub number: u32,
    /// Time with which its sender stamped it.
    pub at: u64,
}

/// Counters and findings of one run.
#[derive(Debug, Default)]
pub struct DeliveryJudge {
    run: u32,
    pub(crate) streams: Vec<StreamState>,
    receivers: Vec<ReceiverState>,
    missing: HashMap<(ReceiverId, StreamId), BTreeSet<u32>>,
    failed: HashMap<(StreamId, u32), SendFailure>,
    /// Deliveries that the listeners still wait for, without those of failed sends.
    expected_deliveries: i64,
    /// Sends to listeners that are neither answered nor failed.
    open: i64,
    /// Inboxes that are read, by receiver.
    pub(crate) inboxes: HashMap<ReceiverId, InboxHistory>,
    /// Receiver of each user's inbox.
    pub(crate) inbox_ids: HashMap<i64, ReceiverId>,
    /// Streams whose sends have receivers of their own, by the caller's number.
    pub(crate) senders: HashMap<u64, StreamId>,
    /// Sends by the digest of their content.
    pub(crate) contents: HashMap<u64, SendId>,
    /// Sends by the message id of their answer.
    pub(crate) answers: HashMap<Vec<u8>, SendId>,
    /// Inboxes, seqs and digests of contents that answers named.
    pub(crate) answered_seqs: Vec<(ReceiverId, i64, u64)>,
    pub(crate) watches: Vec<WatchedClient>,
    /// Number of entries that were read or shown.
    pub(crate) entries: u64,
    pub(crate) findings: JudgeFindings,
}

impl DeliveryJudge {
    /// Creates a judge for messages with this run's number; messages of other runs are foreign.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self {
            run,
            ..Self::default()
        }
    }

    /// Adds a stream from a user, of which every listener gets all messages.
    pub fn stream(&mut self, sender: i64, to: StreamDestination) -> StreamId {
        self.add_stream(Some((sender, to)), StreamAudience::Listeners(Vec::new()))
    }

    pub(crate) fn add_stream(
        &mut self,
        header: Option<(i64, StreamDestination)>,
        audience: StreamAudience,
    ) -> StreamId {
        self.streams.push(StreamState {
            header,
            audience,
            sent: 0,
            answered: 0,
            failed: 0,
        });
        StreamId::try_from(self.streams.len() - 1).unwrap_or(StreamId::MAX)
    }

    /// Adds a receiver whose inbox stands at `base`.
    pub fn receiver(&mut self, base: i64) -> ReceiverId {
        self.receivers.push(ReceiverState {
            next_numbers: Vec::new(),
            base,
            pushed: base,
            own: base,
            entries: 0,
        });
        ReceiverId::try_from(self.receivers.len() - 1).unwrap_or(ReceiverId::MAX)
    }

    /// Makes the receiver get the stream, from its next message on.
    pub fn listen(&mut self, receiver: ReceiverId, stream: StreamId) {
        let Some(it) = self.streams.get_mut(stream as usize) else {
            return;
        };
        let StreamAudience::Listeners(listeners) = &mut it.audience else {
            return;
        };
        if let Some(state) = self.receivers.get_mut(receiver as usize)
            && let Err(at) = state.position(stream)
        {
            state.next_numbers.insert(at, (stream, it.sent));
            listeners.push(receiver);
        }
    }

    /// Returns the mark of the stream's next message, to be put into its content.
    pub fn send(&mut self, stream: StreamId, at: u64) -> MessageMark {
        let mut number = 0;
        if let Some(it) = self.streams.get_mut(stream as usize) {
            number = it.sent;
            it.sent += 1;
        }
        self.expected_deliveries += i64::from(self.listeners(stream));
        self.open += 1;
        MessageMark {
            run: self.run,
            stream,
            number,
            at,
        }
    }

    /// Returns the number of connections that must get each message of the stream.
    #[must_use]
    pub fn listeners(&self, stream: StreamId) -> u32 {
        u32::try_from(self.listener_ids(stream).len()).unwrap_or(u32::MAX)
    }

    fn listener_ids(&self, stream: StreamId) -> &[ReceiverId] {
        let stream = self.streams.get(stream as usize);
        stream.map_or(&[], |it| it.audience.listeners())
    }

    /// Returns true if the receiver has got this number of the stream.
    pub(crate) fn has_observed(&self, receiver: ReceiverId, stream: StreamId, number: u32) -> bool {
        let Some(it) = self.receivers.get(receiver as usize) else {
            return false;
        };
        let at = it.position(stream);
        let next = at.ok().and_then(|at| it.next_numbers.get(at));
        let gap = self.missing.get(&(receiver, stream));
        next.is_some_and(|next| number < next.1) && !gap.is_some_and(|gap| gap.contains(&number))
    }

    /// Returns a stream's destination.
    #[must_use]
    pub fn to(&self, stream: StreamId) -> Option<StreamDestination> {
        let header = self.streams.get(stream as usize)?.header;
        header.map(|(_, to)| to)
    }

    /// Records that a send was answered with success.
    pub fn answered(&mut self, stream: StreamId) {
        if let Some(it) = self.streams.get_mut(stream as usize) {
            it.answered += 1;
            self.open -= i64::from(matches!(it.audience, StreamAudience::Listeners(_)));
        }
    }

    /// Records that a send of the receiver's user was answered with this seq of its inbox.
    pub fn own(&mut self, receiver: ReceiverId, seq: i64) {
        if let Some(it) = self.receivers.get_mut(receiver as usize) {
            if seq <= it.own && seq != 0 {
                let text = format!("an answer with seq {seq} came after one with {}", it.own);
                self.findings.add(FindingKind::Seq, || text);
            }
            it.own = it.own.max(seq);
            it.entries += 1;
        }
    }

    /// Records that a send was not answered with success.
    pub fn failed(&mut self, stream: StreamId, number: u32, how: SendFailure) {
        if self.failed.insert((stream, number), how).is_none() {
            if let Some(it) = self.streams.get_mut(stream as usize) {
                it.failed += 1;
                self.open -= 1;
            }
            // Some receivers may have got the message before its failure: only the others are
            // expected to get nothing now.
            let listeners = self.listener_ids(stream).iter();
            let waiting = listeners.filter(|&&it| !self.has_observed(it, stream, number));
            self.expected_deliveries -= i64::try_from(waiting.count()).unwrap_or(i64::MAX);
        }
    }

    /// Checks a push to a connection. Returns `None` if it is not a message of this run, or is
    /// wrong.
    pub fn observe_push(
        &mut self,
        receiver: ReceiverId,
        pushed: &PushedMessage<'_>,
    ) -> Option<ObservedPush> {
        self.seq(receiver, pushed.seq, pushed.receiver_type);
        if pushed.sender == 0 {
            return None;
        }
        let mark = match MessageMark::read(pushed.content) {
            Ok(mark) if mark.run == self.run => mark,
            Ok(mark) => {
                let text = format!("a message of another run ({}) came", mark.run);
                self.findings.add(FindingKind::Foreign, || text);
                return None;
            }
            Err(why) => {
                self.findings.add(FindingKind::Damaged, || why.to_owned());
                return None;
            }
        };
        let MessageMark { stream, number, .. } = mark;
        let addressed = self.streams.get(stream as usize).is_some_and(|it| {
            it.header.is_some_and(|(sender, to)| {
                sender == pushed.sender
                    && to.id() == pushed.receiver
                    && i32::from(to.kind()) == pushed.receiver_type
            }) && number < it.sent
        });
        if !addressed {
            self.misdirected(receiver, stream, number);
            return None;
        }
        let push = ObservedPush {
            stream,
            number,
            at: mark.at,
        };
        self.deliver(receiver, stream, number).then_some(push)
    }

    fn misdirected(&mut self, receiver: ReceiverId, stream: StreamId, number: u32) {
        self.findings.add(FindingKind::Misdirected, || {
            format!("number {number} of stream {stream} came to receiver {receiver}")
        });
    }

    /// Records that a receiver got a message. Returns true if it is the next one that the receiver
    /// gets of this stream.
    pub(crate) fn deliver(&mut self, receiver: ReceiverId, stream: StreamId, number: u32) -> bool {
        let (Some(it), Some(state)) = (
            self.streams.get(stream as usize),
            self.receivers.get_mut(receiver as usize),
        ) else {
            return false;
        };
        // A receiver of single sends is known to the stream by its first one.
        let per_send = it.audience.planned(number).is_some();
        if per_send
            && it.audience.allows(receiver, number)
            && let Err(at) = state.position(stream)
        {
            state.next_numbers.insert(at, (stream, 0));
        }
        let at = state.position(stream).ok();
        let next = at.and_then(|at| state.next_numbers.get_mut(at));
        let (true, Some((_, next))) = (it.audience.allows(receiver, number), next) else {
            self.misdirected(receiver, stream, number);
            return false;
        };
        if number < *next {
            self.late(receiver, stream, number, per_send);
            return false;
        }
        let gap = *next..number;
        *next = number + 1;
        if !gap.is_empty() {
            let gap = gap.filter(|skipped| it.audience.allows(receiver, *skipped));
            self.missing
                .entry((receiver, stream))
                .or_default()
                .extend(gap);
        }
        self.count_delivery(stream, number, per_send);
        true
    }

    fn count_delivery(&mut self, stream: StreamId, number: u32, per_send: bool) {
        // A failed send is not among the expected deliveries any more.
        let expected = !per_send && !self.is_failed(stream, number);
        self.expected_deliveries -= i64::from(expected);
    }

    /// Handles a number below the expected one: it was overtaken, or it came before.
    fn late(&mut self, receiver: ReceiverId, stream: StreamId, number: u32, per_send: bool) {
        let missing = self.missing.get_mut(&(receiver, stream));
        if missing.is_some_and(|missing| missing.remove(&number)) {
            self.count_delivery(stream, number, per_send);
            self.findings.add(FindingKind::Swapped, || {
                format!("number {number} of stream {stream} came to {receiver} after a later one")
            });
        } else {
            self.findings.add(FindingKind::Doubled, || {
                format!("number {number} of stream {stream} came to {receiver} again")
            });
        }
    }

    /// Checks that the entries of an inbox come in the order of their seqs.
    fn seq(&mut self, receiver: ReceiverId, seq: i64, receiver_type: i32) {
        if seq == 0 || receiver_type == 3 {
            return;
        }
        if let Some(it) = self.receivers.get_mut(receiver as usize) {
            if seq <= it.pushed {
                let text = format!("a push with seq {seq} came after one with {}", it.pushed);
                self.findings.add(FindingKind::Seq, || text);
            }
            it.pushed = it.pushed.max(seq);
            it.entries += 1;
        }
    }

    fn is_failed(&self, stream: StreamId, number: u32) -> bool {
        !self.failed.is_empty() && self.failed.contains_key(&(stream, number))
    }

    /// Returns true if every send to listeners is answered or failed, and every expected delivery
    /// has come.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.expected_deliveries <= 0 && self.open <= 0
    }

    /// Returns the number of sends answered with success.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.streams.iter().map(|it| u64::from(it.answered)).sum()
    }

    /// Returns the number of entries that were read from inboxes or shown to live clients.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns the numbers of refused sends and of sends with an unknown outcome.
    #[must_use]
    pub fn failures(&self) -> (u64, u64) {
        let refused = |how: &&SendFailure| **how == SendFailure::Refused;
        let refused = self.failed.values().filter(refused).count() as u64;
        (refused, self.failed.len() as u64 - refused)
    }

    /// Adds a finding that the caller made itself, for example a closed connection.
    pub fn note(&mut self, finding: FindingKind, text: impl FnOnce() -> String) {
        self.findings.add(finding, text);
    }

    /// Returns all findings. Messages that have not come are lost, and refused messages must not
    /// have come.
    #[must_use]
    pub fn verdict(&self) -> JudgeFindings {
        let mut findings = self.findings.clone();
        for (stream, it) in (0..).zip(&self.streams) {
            match &it.audience {
                StreamAudience::Listeners(_) => {
                    let open = it.sent.saturating_sub(it.answered + it.failed);
                    for _ in 0..open {
                        findings.add(FindingKind::Unanswered, || {
                            format!("{open} sends of stream {stream} got no answer")
                        });
                    }
                }
                StreamAudience::PerSend(_) => self.lost_sends(stream, it, &mut findings),
            }
        }
        for (receiver, it) in (0..).zip(&self.receivers) {
            self.lost_pushes(receiver, it, &mut findings);
        }
        self.refused_but_delivered(&mut findings);
        // A send with an unknown outcome may have stored an entry that was not counted.
        if self.failed.values().all(|how| *how == SendFailure::Refused) {
            self.holes(&mut findings);
        }
        self.wrong_seqs(&mut findings);
        for watch in &self.watches {
            self.judge_watch(watch, &mut findings);
        }
        findings
    }

    /// Finds the answered sends that are missing in an inbox.
    fn lost_sends(&self, stream: StreamId, it: &StreamState, findings: &mut JudgeFindings) {
        for number in 0..it.sent {
            let required = it.audience.planned(number);
            for &receiver in required.into_iter().flat_map(|send| send.required.iter()) {
                if !self.has_observed(receiver, stream, number) {
                    dropped(receiver, stream, number, findings);
                }
            }
        }
    }

    /// Finds the messages that a listener never got.
    fn lost_pushes(&self, receiver: ReceiverId, it: &ReceiverState, findings: &mut JudgeFindings) {
        for &(stream, next) in &it.next_numbers {
            let Some(state) = self.streams.get(stream as usize) else {
                continue;
            };
            if matches!(state.audience, StreamAudience::PerSend(_)) {
                continue;
            }
            let gaps = self.missing.get(&(receiver, stream));
            let gaps = gaps.into_iter().flatten().copied();
            for number in gaps.chain(next..state.sent) {
                if !self.failed.contains_key(&(stream, number)) {
                    dropped(receiver, stream, number, findings);
                }
            }
        }
    }

    fn refused_but_delivered(&self, findings: &mut JudgeFindings) {
        let refused = self.failed.iter();
        let refused = refused.filter(|(_, how)| **how == SendFailure::Refused);
        for (&(stream, number), _) in refused {
            for &receiver in self.listener_ids(stream) {
                if self.has_observed(receiver, stream, number) {
                    findings.add(FindingKind::Refused, || {
                        format!(
                            "number {number} of stream {stream} was refused and came to {receiver}"
                        )
                    });
                }
            }
        }
    }

    /// Checks that no inbox has a hole: its head is its base plus the number of its entries.
    fn holes(&self, findings: &mut JudgeFindings) {
        for (id, it) in self.receivers.iter().enumerate() {
            let head = it.pushed.max(it.own);
            if it.entries > 0 && head > it.base && head != it.base + it.entries {
                findings.add(FindingKind::Hole, || {
                    let (base, entries) = (it.base, it.entries);
                    format!("receiver {id} went from seq {base} to {head} by {entries} entries")
                });
            }
        }
    }
}

impl ReceiverState {
    /// Returns the index of the stream in the receiver's list, or the index where it belongs.
    fn position(&self, stream: StreamId) -> Result<usize, usize> {
        let streams = &self.next_numbers;
        streams.binary_search_by_key(&stream, |(stream, _)| *stream)
    }
}

fn dropped(receiver: ReceiverId, stream: StreamId, number: u32, findings: &mut JudgeFindings) {
    findings.add(FindingKind::Dropped, || {
        format!("number {number} of stream {stream} never came to {receiver}")
    });
}
