//! The members of rooms: a program that receives what is published and judges it. Serves the `room`
//! scenario and the bare fan-out that it is compared with, so that both are received alike.
//!
//! Each room has a burst of messages under way at a time; the next goes out when every member has
//! the last of them, or at the room's beat. Every delivery is compared with what was published:
//! once, in the same order for all, in the right room, every byte.

mod room;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gimlet_proto::pb::PackageType;

use crate::clock::{self, SECOND};
use crate::judge::{Finding, Findings};
use crate::latency::{Latency, Summary};
use crate::limits::Outcome;
use crate::net::{Actor, ConnId, Net, Packet, Pushed};
use room::{Member, Room};

pub use room::{CONTENT, content};

/// Without a delivery for this long, something is lost.
const STUCK: u64 = 10 * SECOND;

/// How soon an idle crowd looks at the time again.
const NAP: u64 = SECOND / 10;

/// What publishes: called with the room's place among the crowd's, and the contents.
pub type Publish<'a> = Box<dyn FnMut(usize, Vec<Vec<u8>>) -> Outcome<()> + 'a>;

/// How the messages are paced.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages published together.
    pub burst: u64,
    /// Bursts of each room in a second; `None`: the next when all members have the last.
    pub rate: Option<f64>,
    /// How long before it counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub span: Duration,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// Deliveries that count.
    pub deliveries: u64,
    /// Messages published while it counted.
    pub messages: u64,
    /// In this time.
    pub span: Duration,
    /// From when a message was due to each delivery.
    pub latency: Summary,
    /// From when a burst was due until the last member had all of it.
    pub whole: Summary,
    /// What was wrong.
    pub findings: Findings,
}

/// What the time is for; each since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing counts yet.
    Warm(u64),
    /// It counts.
    Counts(u64),
    /// What is on its way is still judged, but does not count.
    Drains,
}

/// The crowd.
pub struct Crowd<'a> {
    rooms: Vec<Room>,
    /// By connection.
    members: Vec<Member>,
    pace: Pace,
    publish: Publish<'a>,
    /// Called with true when counting begins and with false when it ends.
    marks: &'a mut dyn FnMut(bool),
    phase: Phase,
    moved: u64,
    /// The time of the present read.
    now: Option<u64>,
    seen: (u64, u64, Duration),
    latency: Latency,
    whole: Latency,
    findings: Findings,
    failed: bool,
}

impl std::fmt::Debug for Crowd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd")
            .field("rooms", &self.rooms.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Crowd<'a> {
    /// Members of rooms: each connection with the place of its room in `rooms`, which are ids.
    /// `marks` is called with true when counting begins and with false when it ends.
    #[must_use]
    pub fn new(
        rooms: &[i64],
        members: &[(ConnId, u32)],
        pace: Pace,
        publish: Publish<'a>,
        marks: &'a mut dyn FnMut(bool),
    ) -> Self {
        let now = clock::now();
        let mut rooms: Vec<Room> = rooms.iter().map(|&id| Room::new(id, now)).collect();
        let mut all = Vec::new();
        for &(conn, of) in members {
            let slot = conn as usize;
            if all.len() <= slot {
                all.resize_with(slot + 1, Member::nowhere);
            }
            if let (Some(member), Some(room)) = (all.get_mut(slot), rooms.get_mut(of as usize)) {
                *member = room.join(of);
            }
        }
        Self {
            rooms,
            members: all,
            pace,
            publish,
            marks,
            phase: Phase::Warm(now),
            moved: now,
            now: None,
            seen: (0, 0, Duration::ZERO),
            latency: Latency::new(now),
            whole: Latency::new(now),
            findings: Findings::default(),
            failed: false,
        }
    }

    /// What was seen.
    #[must_use]
    pub fn seen(self) -> Seen {
        let (deliveries, messages, span) = self.seen;
        Seen {
            deliveries,
            messages,
            span,
            latency: self.latency.summary(),
            whole: self.whole.summary(),
            findings: self.findings,
        }
    }

    const fn counts(&self) -> bool {
        matches!(self.phase, Phase::Counts(_))
    }

    /// Goes on to the next phase when the time has come.
    fn age(&mut self, now: u64) {
        match self.phase {
            Phase::Warm(since) if now - since >= clock::nanos(self.pace.warm_up) => {
                self.phase = Phase::Counts(now);
                self.latency = Latency::new(now);
                self.whole = Latency::new(now);
                (self.marks)(true);
            }
            Phase::Counts(since) if now - since >= clock::nanos(self.pace.span) => {
                self.phase = Phase::Drains;
                self.seen.2 = Duration::from_nanos(now - since);
                (self.marks)(false);
            }
            _ => {}
        }
    }

    /// Publishes the next burst of the room, which was due then.
    fn burst(&mut self, at: usize, due: u64) {
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        let contents = room.publish(self.pace.burst, due);
        if self.counts() {
            self.seen.1 += self.pace.burst;
        }
        if let Err(error) = (self.publish)(at, contents) {
            self.findings
                .add(Finding::Unanswered, || format!("publishing: {error}"));
            self.failed = true;
        }
    }

    /// Publishes what is due; says when the next is.
    fn publish_due(&mut self, now: u64) -> u64 {
        let mut soonest = now + NAP;
        for at in 0..self.rooms.len() {
            let Some(room) = self.rooms.get_mut(at) else {
                break;
            };
            let Some(rate) = self.pace.rate else {
                if room.is_complete() {
                    self.burst(at, now);
                }
                continue;
            };
            let gap = clock::nanos(Duration::from_secs_f64(1.0 / rate.max(1e-3)));
            let mut due = Vec::new();
            while room.next <= now {
                due.push(room.next);
                room.next += gap;
            }
            soonest = soonest.min(room.next);
            for due in due {
                self.burst(at, due);
            }
        }
        soonest
    }

    /// A member got a message.
    fn deliver(&mut self, id: ConnId, pushed: &Pushed<'_>) {
        let member = self.members.get_mut(id as usize);
        let room = member
            .as_ref()
            .and_then(|it| self.rooms.get_mut(it.room as usize));
        let (Some(member), Some(room)) = (member, room) else {
            self.findings.add(Finding::Misdirected, || {
                format!("connection {id} is no member")
            });
            return;
        };
        let Some(due) = room.deliver(member, pushed, &mut self.findings) else {
            return;
        };
        let now = *self.now.get_or_insert_with(clock::now);
        self.moved = now;
        if matches!(self.phase, Phase::Counts(_)) {
            self.seen.0 += 1;
            self.latency.record(due, now);
            if room.is_complete() {
                self.whole.record(room.begun, now);
            }
        }
    }
}

impl Actor for Crowd<'_> {
    fn packet(&mut self, _net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        if !packet.is(PackageType::PtMessage) {
            return;
        }
        match Pushed::read(packet.data) {
            Some(pushed) => self.deliver(id, &pushed),
            None => self
                .findings
                .add(Finding::Damaged, || "a push without a message".to_owned()),
        }
    }

    fn read(&mut self, _net: &mut Net, _id: ConnId) {
        self.now = None;
    }

    fn closed(&mut self, _net: &mut Net, id: ConnId, why: &str) {
        self.findings.add(Finding::Connection, || {
            format!("connection {id} was lost: {why}")
        });
        self.failed = true;
    }

    fn turn(&mut self, _net: &mut Net, now: u64) -> Option<u64> {
        self.age(now);
        let complete = self.rooms.iter().all(Room::is_complete);
        if self.failed || (self.phase == Phase::Drains && complete) {
            return None;
        }
        if !complete && now.saturating_sub(self.moved) > STUCK {
            let lost: u64 = self.rooms.iter().map(Room::open).sum();
            self.findings.add(Finding::Dropped, || {
                format!("{lost} deliveries did not come")
            });
            return None;
        }
        if self.phase == Phase::Drains {
            return Some(now + NAP);
        }
        Some(self.publish_due(now))
    }
}
