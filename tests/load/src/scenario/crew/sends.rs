//! Unanswered sends of the simulated users: tells the judge their outcome when the answer comes, or
//! when the connection is lost before it.

use gimlet_proto::pb::PackageType;

use super::person::{Person, Way};
use crate::clock;
use crate::judge::{Failed, Finding, Judge, StreamId};
use crate::net::{Net, Packet, Send, answered_seq};
use crate::scenario::slots::{Slots, request_of, slot_of};

/// Bytes of a message.
const SIZE: usize = 100;

/// Send in flight.
#[derive(Clone, Copy, Debug)]
struct Sent {
    stream: StreamId,
    number: u32,
}

/// Outcome of an answered send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Stored, or unknown.
    Over,
    /// Not stored.
    Refused,
    /// Answer to another user's send; that user still waits for it.
    Misdirected,
}

/// Sends in flight.
#[derive(Debug)]
pub(super) struct Sends {
    under_way: Slots<Sent>,
    /// Number of sends answered with success since the goal was set.
    answered: u64,
    /// Content of the current send.
    content: Vec<u8>,
}

impl Sends {
    /// Creates an empty set.
    pub(super) const fn new() -> Self {
        Self {
            under_way: Slots::new(),
            answered: 0,
            content: Vec::new(),
        }
    }

    /// Starts a new goal: answers count from 0.
    pub(super) const fn begin(&mut self) {
        self.answered = 0;
    }

    /// Returns the number of sends without an answer.
    pub(super) const fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Returns the number of sends answered with success since the goal was set.
    pub(super) const fn answered(&self) -> u64 {
        self.answered
    }

    /// Sends the user's next message, if the user is live and has one to write.
    pub(super) fn write(
        &mut self,
        net: &mut Net,
        judge: &mut Judge,
        person: &mut Person,
        today: i64,
    ) {
        if person.way != Way::Live {
            return;
        }
        let (Some(conn), Some(stream)) = (person.conn, person.next_lane()) else {
            return;
        };
        let Some(to) = judge.to(stream) else {
            return;
        };
        let mark = judge.send(stream, clock::now());
        mark.write(&mut self.content, SIZE);
        let slot = self.under_way.put(Sent {
            stream,
            number: mark.number,
        });
        person.under_way.push(slot);
        let body = Send {
            receiver_type: to.kind(),
            receiver: to.id(),
            at: today,
            content: &self.content,
            key: &mark.key(),
        };
        net.send(conn, PackageType::PtSend, request_of(slot), &body);
    }

    /// Handles the answer to a user's send; returns `None` if that send was not in flight.
    pub(super) fn settle(
        &mut self,
        judge: &mut Judge,
        person: &mut Person,
        packet: &Packet<'_>,
    ) -> Option<End> {
        let slot = slot_of(packet.request_id);
        // Check this before the slot is taken: the other user's send must stay in flight.
        if self.under_way.has(slot) && !person.under_way.contains(&slot) {
            let note = || format!("the answer to another user's send ({slot}) came");
            judge.note(Finding::Misdirected, note);
            return Some(End::Misdirected);
        }
        let Some(sent) = self.under_way.take(slot) else {
            let note = || format!("an answer to a send that was not in flight ({slot})");
            judge.note(Finding::Connection, note);
            return None;
        };
        person.under_way.retain(|it| *it != slot);
        Some(match packet.code {
            0 => {
                self.answered += 1;
                let seq = answered_seq(packet.data);
                person.has(seq);
                judge.own(person.ear, seq);
                judge.answered(sent.stream);
                End::Over
            }
            // The deadline passed: the send may have been stored.
            4 => {
                judge.failed(sent.stream, sent.number, Failed::Unknown);
                End::Over
            }
            _ => {
                judge.failed(sent.stream, sent.number, Failed::Refused);
                End::Refused
            }
        })
    }

    /// Handles a lost connection: the outcome of the user's unanswered sends is unknown.
    pub(super) fn lose(&mut self, judge: &mut Judge, person: &mut Person) {
        for slot in std::mem::take(&mut person.under_way) {
            if let Some(sent) = self.under_way.take(slot) {
                judge.failed(sent.stream, sent.number, Failed::Unknown);
            }
        }
    }
}
