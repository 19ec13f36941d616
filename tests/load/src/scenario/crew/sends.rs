//! The messages that a crew writes and that are without an answer: what the judge hears when the
//! answer comes, and when the connection goes before it.

use gimlet_proto::pb::PackageType;

use super::person::{Person, Way};
use crate::clock;
use crate::judge::{Failed, Finding, Judge, StreamId};
use crate::net::{Net, Packet, Send, answered_seq};
use crate::scenario::slots::{Slots, request_of, slot_of};

/// Bytes of a message.
const SIZE: usize = 100;

/// A send under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    stream: StreamId,
    number: u32,
}

/// How an answered send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is stored, or nobody knows.
    Over,
    /// It is not stored.
    Refused,
    /// Not at all: another's answer came, who still waits for it.
    Misdirected,
}

/// The sends under way.
#[derive(Debug)]
pub(super) struct Sends {
    under_way: Slots<Sent>,
    /// Answered with success since the goal was set.
    answered: u64,
    /// The content of the present one.
    content: Vec<u8>,
}

impl Sends {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self {
            under_way: Slots::new(),
            answered: 0,
            content: Vec::new(),
        }
    }

    /// For a new goal answers are counted anew.
    pub(super) const fn begin(&mut self) {
        self.answered = 0;
    }

    /// How many have no answer.
    pub(super) const fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// How many were answered with success since the goal was set.
    pub(super) const fn answered(&self) -> u64 {
        self.answered
    }

    /// The person's next message, if it is live and has one to write.
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

    /// The person's send was answered; `None` if it was not under way.
    pub(super) fn settle(
        &mut self,
        judge: &mut Judge,
        person: &mut Person,
        packet: &Packet<'_>,
    ) -> Option<End> {
        let slot = slot_of(packet.request_id);
        if self.under_way.has(slot) && !person.under_way.contains(&slot) {
            let note = || format!("the answer to another's send ({slot}) came");
            judge.note(Finding::Misdirected, note);
            return Some(End::Misdirected);
        }
        let Some(sent) = self.under_way.take(slot) else {
            let note = || format!("an answer to a send that was not under way ({slot})");
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

    /// The person's connection is gone: nobody knows what became of its sends without an answer.
    pub(super) fn lose(&mut self, judge: &mut Judge, person: &mut Person) {
        for slot in std::mem::take(&mut person.under_way) {
            if let Some(sent) = self.under_way.take(slot) {
                judge.failed(sent.stream, sent.number, Failed::Unknown);
            }
        }
    }
}
