//! The judge checks that every answered message is delivered once, in order, to the right
//! connections, and to no others. Serves every scenario; knows no socket.
//!
//! A *stream* is the sequence of messages from one sender to one user, group or room, numbered
//! from 0. A *receiver* is a connection that must get the messages of its streams. Each message
//! carries its stream, number and checksum (see [`content`]), so that lost, doubled, swapped and
//! misdirected messages can be told apart. The judge keeps one counter per receiver and stream and,
//! beyond that, only the numbers that are missing at the moment, never the messages.

mod content;
mod findings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

pub use content::{MARK, MessageMark};
pub use findings::{FindingKind, JudgeFindings};

use crate::net::PushedMessage;

/// Number of a stream within its judge.
pub type StreamId = u32;

/// Number of a receiver within its judge.
pub type ReceiverId = u32;

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

#[derive(Debug)]
struct StreamState {
    sender: i64,
    to: StreamDestination,
    sent: u32,
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
#[derive(Debug)]
pub struct DeliveryJudge {
    run: u32,
    streams: Vec<StreamState>,
    receivers: Vec<ReceiverState>,
    missing: HashMap<(ReceiverId, StreamId), BTreeSet<u32>>,
    failed: HashMap<(StreamId, u32), SendFailure>,
    /// Deliveries still expected, without those of failed sends.
    expected_deliveries: i64,
    /// Sends that are neither answered nor failed.
    open: i64,
    /// Receivers of each stream.
    listeners: Vec<Vec<ReceiverId>>,
    findings: JudgeFindings,
}

impl DeliveryJudge {
    /// Creates a judge for messages with this run's number; messages of other runs are foreign.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self {
            run,
            streams: Vec::new(),
            receivers: Vec::new(),
            missing: HashMap::new(),
            failed: HashMap::new(),
            expected_deliveries: 0,
            open: 0,
            listeners: Vec::new(),
            findings: JudgeFindings::default(),
        }
    }

    /// Adds a stream from a user.
    pub fn stream(&mut self, sender: i64, to: StreamDestination) -> StreamId {
        self.streams.push(StreamState {
            sender,
            to,
            sent: 0,
            answered: 0,
            failed: 0,
        });
        self.listeners.push(Vec::new());
        StreamId::try_from(self.streams.len() - 1).unwrap_or(StreamId::MAX)
    }

    /// Adds a receiver whose inbox stands at `base`.
    pub fn ear(&mut self, base: i64) -> ReceiverId {
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
    pub fn listen(&mut self, ear: ReceiverId, stream: StreamId) {
        let Some(next) = self.streams.get(stream as usize).map(|it| it.sent) else {
            return;
        };
        if let Some(it) = self.receivers.get_mut(ear as usize)
            && let Err(at) = it.next_numbers.binary_search_by_key(&stream, |hear| hear.0)
        {
            it.next_numbers.insert(at, (stream, next));
            if let Some(listeners) = self.listeners.get_mut(stream as usize) {
                listeners.push(ear);
            }
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
        let listeners = self.listeners.get(stream as usize);
        listeners.map_or(0, |it| u32::try_from(it.len()).unwrap_or(u32::MAX))
    }

    /// Returns true if the receiver has got this number of the stream.
    fn has_observed(&self, ear: ReceiverId, stream: StreamId, number: u32) -> bool {
        let Some(it) = self.receivers.get(ear as usize) else {
            return false;
        };
        let at = it.next_numbers.binary_search_by_key(&stream, |hear| hear.0);
        let next = at.ok().and_then(|at| it.next_numbers.get(at));
        let gap = self.missing.get(&(ear, stream));
        next.is_some_and(|hear| number < hear.1) && !gap.is_some_and(|gap| gap.contains(&number))
    }

    /// Returns a stream's destination.
    #[must_use]
    pub fn to(&self, stream: StreamId) -> Option<StreamDestination> {
        self.streams.get(stream as usize).map(|it| it.to)
    }

    /// Records that a send was answered with success.
    pub fn answered(&mut self, stream: StreamId) {
        if let Some(it) = self.streams.get_mut(stream as usize) {
            it.answered += 1;
            self.open -= 1;
        }
    }

    /// Records that a send of the receiver's user was answered with this seq of its inbox.
    pub fn own(&mut self, ear: ReceiverId, seq: i64) {
        if let Some(ear) = self.receivers.get_mut(ear as usize) {
            if seq <= ear.own && seq != 0 {
                let text = format!("an answer with seq {seq} came after one with {}", ear.own);
                self.findings.add(FindingKind::Seq, || text);
            }
            ear.own = ear.own.max(seq);
            ear.entries += 1;
        }
    }

    /// Records that a send was not answered with success.
    pub fn failed(&mut self, stream: StreamId, number: u32, how: SendFailure) {
        if self.failed.insert((stream, number), how).is_none() {
            if let Some(it) = self.streams.get_mut(stream as usize) {
                it.failed += 1;
                self.open -= 1;
            }
            // Some receivers may have got the message before its failure: only the others owe
            // nothing now.
            let ears = self.listeners.get(stream as usize);
            let ears = ears.into_iter().flatten();
            let waiting = ears.filter(|&&ear| !self.has_observed(ear, stream, number));
            self.expected_deliveries -= i64::try_from(waiting.count()).unwrap_or(i64::MAX);
        }
    }

    /// Checks a push to a connection. Returns `None` if it is not a message of this run, or is
    /// wrong.
    pub fn observe_push(
        &mut self,
        ear: ReceiverId,
        pushed: &PushedMessage<'_>,
    ) -> Option<ObservedPush> {
        self.seq(ear, pushed.seq, pushed.receiver_type);
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
            it.sender == pushed.sender
                && it.to.id() == pushed.receiver
                && i32::from(it.to.kind()) == pushed.receiver_type
                && number < it.sent
        });
        let next = self.receivers.get_mut(ear as usize).and_then(|it| {
            let at = it
                .next_numbers
                .binary_search_by_key(&stream, |hear| hear.0)
                .ok()?;
            it.next_numbers.get_mut(at).map(|hear| &mut hear.1)
        });
        let (true, Some(next)) = (addressed, next) else {
            self.findings.add(FindingKind::Misdirected, || {
                format!("number {number} of stream {stream} came to connection {ear}")
            });
            return None;
        };
        let gap = *next..number;
        if number < *next {
            self.late(ear, stream, number);
            return None;
        }
        *next = number + 1;
        if !gap.is_empty() {
            self.missing.entry((ear, stream)).or_default().extend(gap);
        }
        // A failed send no longer counts in `expected_deliveries`.
        self.expected_deliveries -= i64::from(!self.is_failed(stream, number));
        Some(ObservedPush {
            stream,
            number,
            at: mark.at,
        })
    }

    /// Handles a number below the expected one: it was overtaken, or it came before.
    fn late(&mut self, ear: ReceiverId, stream: StreamId, number: u32) {
        let missing = self.missing.get_mut(&(ear, stream));
        if missing.is_some_and(|missing| missing.remove(&number)) {
            self.expected_deliveries -= i64::from(!self.is_failed(stream, number));
            self.findings.add(FindingKind::Swapped, || {
                format!("number {number} of stream {stream} came to {ear} after a later one")
            });
        } else {
            self.findings.add(FindingKind::Doubled, || {
                format!("number {number} of stream {stream} came to {ear} again")
            });
        }
    }

    /// Checks that the entries of an inbox come in the order of their seqs.
    fn seq(&mut self, ear: ReceiverId, seq: i64, receiver_type: i32) {
        if seq == 0 || receiver_type == 3 {
            return;
        }
        if let Some(ear) = self.receivers.get_mut(ear as usize) {
            if seq <= ear.pushed {
                let text = format!("a push with seq {seq} came after one with {}", ear.pushed);
                self.findings.add(FindingKind::Seq, || text);
            }
            ear.pushed = ear.pushed.max(seq);
            ear.entries += 1;
        }
    }

    fn is_failed(&self, stream: StreamId, number: u32) -> bool {
        !self.failed.is_empty() && self.failed.contains_key(&(stream, number))
    }

    /// Returns true if every send is answered or failed, and every expected delivery has come.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.expected_deliveries <= 0 && self.open <= 0
    }

    /// Returns the number of sends answered with success.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.streams.iter().map(|it| u64::from(it.answered)).sum()
    }

    /// Returns the numbers of refused sends and of sends with an unknown outcome.
    #[must_use]
    pub fn failures(&self) -> (u64, u64) {
        let refused = |how: &&SendFailure| **how == SendFailure::Refused;
        let refused = self.failed.values().filter(refused).count() as u64;
        (refused, self.failed.len() as u64 - refused)
    }

    /// Adds a finding that the scenario made itself, for example a closed connection.
    pub fn note(&mut self, finding: FindingKind, text: impl FnOnce() -> String) {
        self.findings.add(finding, text);
    }

    /// Ends the run: messages that have not come are lost, and refused messages must not have come.
    #[must_use]
    pub fn verdict(mut self) -> JudgeFindings {
        for (id, it) in self.streams.iter().enumerate() {
            let open = it.sent.saturating_sub(it.answered + it.failed);
            for _ in 0..open {
                self.findings.add(FindingKind::Unanswered, || {
                    format!("{open} sends of stream {id} got no answer")
                });
            }
        }
        for (ear, it) in self.receivers.iter().enumerate() {
            let ear = ReceiverId::try_from(ear).unwrap_or(ReceiverId::MAX);
            for &(stream, next) in &it.next_numbers {
                let sent = self.streams.get(stream as usize).map_or(0, |it| it.sent);
                let gaps = self.missing.get(&(ear, stream));
                for number in gaps.into_iter().flatten().copied().chain(next..sent) {
                    if !self.failed.contains_key(&(stream, number)) {
                        self.findings.add(FindingKind::Dropped, || {
                            format!("number {number} of stream {stream} never came to {ear}")
                        });
                    }
                }
            }
        }
        self.refused_but_delivered();
        // A send with an unknown outcome may have stored an entry that was not counted.
        if self.failed.values().all(|how| *how == SendFailure::Refused) {
            self.holes();
        }
        self.findings
    }

    fn refused_but_delivered(&mut self) {
        let refused = self.failed.iter();
        let refused = refused.filter(|(_, how)| **how == SendFailure::Refused);
        for (&(stream, number), _) in refused {
            let ears = self.listeners.get(stream as usize);
            for &ear in ears.into_iter().flatten() {
                if self.has_observed(ear, stream, number) {
                    self.findings.add(FindingKind::Refused, || {
                        format!("number {number} of stream {stream} was refused and came to {ear}")
                    });
                }
            }
        }
    }

    /// Checks that no inbox has a hole: its head is its base plus the number of its entries.
    fn holes(&mut self) {
        for (id, it) in self.receivers.iter().enumerate() {
            let head = it.pushed.max(it.own);
            if it.entries > 0 && head > it.base && head != it.base + it.entries {
                self.findings.add(FindingKind::Hole, || {
                    let (base, entries) = (it.base, it.entries);
                    format!("connection {id} went from seq {base} to {head} by {entries} entries")
                });
            }
        }
    }
}
