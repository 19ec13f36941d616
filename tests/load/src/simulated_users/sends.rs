//! Unanswered sends of the simulated users: tells the judge their outcome when the answer comes, or
//! when the connection is lost before it.

use gimlet_proto::pb::PackageType;

use super::simulated_user::{SimulatedUser, UserStage};
use crate::clock;
use crate::judge::{DeliveryJudge, FindingKind, SendFailure, StreamId};
use crate::net::{ClientNet, SendBody, ServerPacket, answered_seq};
use crate::slots::{RequestSlots, request_of, slot_of};

/// Bytes of a message.
const SIZE: usize = 100;

/// Send in flight.
#[derive(Clone, Copy, Debug)]
struct UserSend {
    stream: StreamId,
    number: u32,
}

/// Outcome of an answered send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerOutcome {
    /// Stored, or unknown.
    Over,
    /// Not stored.
    Refused,
    /// Answer to another user's send; that user still waits for it.
    Misdirected,
}

/// Sends in flight.
#[derive(Debug)]
pub(super) struct UserSends {
    in_flight: RequestSlots<UserSend>,
    /// Number of sends answered with success since the goal was set.
    answered: u64,
    /// Content of the current send.
    content: Vec<u8>,
}

impl UserSends {
    /// Creates an empty set.
    pub(super) const fn new() -> Self {
        Self {
            in_flight: RequestSlots::new(),
            answered: 0,
            content: Vec::new(),
        }
    }

    /// Starts a new goal: answers count from 0.
    pub(super) const fn begin(&mut self) {
        self.answered = 0;
    }

    /// Returns the number of sends without an answer.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the number of sends answered with success since the goal was set.
    pub(super) const fn answered(&self) -> u64 {
        self.answered
    }

    /// Sends the user's next message, if the user is live and has one to write.
    pub(super) fn write(
        &mut self,
        net: &mut ClientNet,
        judge: &mut DeliveryJudge,
        person: &mut SimulatedUser,
        today: i64,
    ) {
        if person.stage != UserStage::Live {
            return;
        }
        let (Some(conn), Some(stream)) = (person.conn, person.next_stream()) else {
            return;
        };
        let Some(to) = judge.to(stream) else {
            return;
        };
        let mark = judge.send(stream, clock::now());
        mark.write(&mut self.content, SIZE);
        let slot = self.in_flight.put(UserSend {
            stream,
            number: mark.number,
        });
        person.in_flight.push(slot);
        let body = SendBody {
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
        judge: &mut DeliveryJudge,
        person: &mut SimulatedUser,
        packet: &ServerPacket<'_>,
    ) -> Option<AnswerOutcome> {
        let slot = slot_of(packet.request_id);
        // Check this before the slot is taken: the other user's send must stay in flight.
        if self.in_flight.has(slot) && !person.in_flight.contains(&slot) {
            let note = || format!("the answer to another user's send ({slot}) came");
            judge.note(FindingKind::Misdirected, note);
            return Some(AnswerOutcome::Misdirected);
        }
        let Some(sent) = self.in_flight.take(slot) else {
            let note = || format!("an answer to a send that was not in flight ({slot})");
            judge.note(FindingKind::Connection, note);
            return None;
        };
        person.in_flight.retain(|it| *it != slot);
        Some(match packet.code {
            0 => {
                self.answered += 1;
                let seq = answered_seq(packet.data);
                person.has(seq);
                judge.own(person.ear, seq);
                judge.answered(sent.stream);
                AnswerOutcome::Over
            }
            // The deadline passed: the send may have been stored.
            4 => {
                judge.failed(sent.stream, sent.number, SendFailure::Unknown);
                AnswerOutcome::Over
            }
            _ => {
                judge.failed(sent.stream, sent.number, SendFailure::Refused);
                AnswerOutcome::Refused
            }
        })
    }

    /// Handles a lost connection: the outcome of the user's unanswered sends is unknown.
    pub(super) fn lose(&mut self, judge: &mut DeliveryJudge, person: &mut SimulatedUser) {
        for slot in std::mem::take(&mut person.in_flight) {
            if let Some(sent) = self.in_flight.take(slot) {
                judge.failed(sent.stream, sent.number, SendFailure::Unknown);
            }
        }
    }
}
