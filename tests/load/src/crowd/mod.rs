//! Subscribers of rooms: receive the published messages and check every delivery. Serves the `room`
//! scenario and the bare fan-out that it is compared with, so that the same code receives both.
//!
//! One thread per core reads, four at most: a single reading thread would be slower than the
//! servers it measures.
//!
//! Each room has one burst of messages in flight; the next burst goes out when every member has the
//! last one, or at the configured rate. Each delivery is compared with the published messages:
//! once, in the same order for all members, in the right room, byte for byte.
//!
//! The end of a run needs an order. The leading thread seals all rooms, which waits for a publish
//! in progress and prevents later ones, and only then sets `over`. Every thread reads `over` before
//! it reads whether its rooms are complete.

mod room;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gimlet_proto::pb::PackageType;

use crate::clock::{self, SECOND};
use crate::judge::{Finding, Findings};
use crate::latency::{Latency, Summary};
use crate::limits::Outcome;
use crate::net::{Actor, ConnId, Net, Packet, Pushed, drive};
use room::{Member, Room, Shared};

pub use room::{CONTENT, content};

/// Nanoseconds without a delivery after which messages count as lost.
const STUCK: u64 = 10 * SECOND;

/// Nanoseconds after which an idle thread looks at the time again.
const NAP: u64 = SECOND / 10;

/// Callback that publishes: gets the index of the room and the contents.
pub type Publish<'a> = Box<dyn FnMut(usize, Vec<Vec<u8>>) -> Outcome<()> + Send + 'a>;

/// Maximum number of reading threads.
const THREADS: usize = 4;

/// Returns the number of reading threads on this machine.
#[must_use]
pub fn threads() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS)
}

/// Members that one thread reads for.
#[derive(Debug)]
pub struct Section {
    /// Connections of the members.
    pub net: Net,
    /// Each member's connection, and the index of its room.
    pub members: Vec<(ConnId, u32)>,
}

/// Pacing of the messages.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages published together.
    pub burst: u64,
    /// Bursts of each room per second; with `None`, the next burst goes out when all members have
    /// the last.
    pub rate: Option<f64>,
    /// Time before the measured part.
    pub warm_up: Duration,
    /// Length of the measured part.
    pub span: Duration,
}

/// Results of a run.
#[derive(Debug)]
pub struct Seen {
    /// Deliveries in the measured part.
    pub deliveries: u64,
    /// Messages published in the measured part.
    pub messages: u64,
    /// Measured length of that part.
    pub span: Duration,
    /// Times from when a message was due to each delivery.
    pub latency: Summary,
    /// Times from when a burst was due until the last member had all of it.
    pub whole: Summary,
    /// Findings of the checks.
    pub findings: Findings,
}

/// Phase of a run, with the time at which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Warm-up: nothing counts yet.
    Warm(u64),
    /// Measured part.
    Counts(u64),
    /// Drain: remaining deliveries are checked, but do not count.
    Drains,
}

/// Receives published messages on all sections until the run ends. `rooms` are the ids of the
/// rooms. `marks` is called with true when the measured part begins and with false when it ends.
///
/// # Errors
/// There is no section, or the connections cannot be driven.
pub fn gather(
    sections: &mut [Section],
    rooms: &[i64],
    pace: Pace,
    publish: Publish<'_>,
    marks: &mut (dyn FnMut(bool) + Send),
) -> io::Result<Seen> {
    let now = clock::now();
    let rooms: Vec<Arc<Shared>> = rooms.iter().map(|&id| Arc::new(Shared::new(id))).collect();
    let publish = Mutex::new(publish);
    let (over, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let publish = |room: usize, contents: Vec<Vec<u8>>| {
        let mut publish = publish.lock().unwrap_or_else(PoisonError::into_inner);
        publish(room, contents)
    };
    let stage = Stage {
        pace,
        publish: &publish,
        over: &over,
        failed: &failed,
    };
    // All members join before any thread reads: a burst must know the number of its deliveries.
    let crowds = sections.iter_mut().map(|section| {
        let crowd = Crowd::new(&rooms, &section.members, stage, now);
        (&mut section.net, crowd)
    });
    let mut crowds: Vec<_> = crowds.collect();
    let (net, mut leader) = crowds
        .pop()
        .ok_or_else(|| io::Error::other("there is no section of members"))?;
    leader.marks = Some(marks);
    thread::scope(|scope| {
        let read = |(net, mut crowd): (&mut Net, Crowd<'_>)| {
            let _guard = FailOnPanic(&failed);
            let read = drive(net, &mut crowd);
            if read.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            read.map(|()| crowd.seen)
        };
        let others: Vec<_> = crowds
            .into_iter()
            .map(|crowd| scope.spawn(move || read(crowd)))
            .collect();
        let guard = FailOnPanic(&failed);
        let led = drive(net, &mut leader);
        drop(guard);
        if led.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        let mut seen = leader.seen;
        for other in others {
            let more: io::Result<Tally> = other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a reading thread panicked")));
            seen.merge(more?);
        }
        led.map(|()| seen.told())
    })
}

/// Counters of one thread.
#[derive(Debug)]
struct Tally {
    deliveries: u64,
    messages: u64,
    span: Duration,
    latency: Latency,
    whole: Latency,
    findings: Findings,
}

impl Tally {
    fn new(now: u64) -> Self {
        Self {
            deliveries: 0,
            messages: 0,
            span: Duration::ZERO,
            latency: Latency::new(now),
            whole: Latency::new(now),
            findings: Findings::default(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.messages += other.messages;
        self.span = self.span.max(other.span);
        self.latency.merge(other.latency);
        self.whole.merge(other.whole);
        self.findings.merge(other.findings);
    }

    fn told(self) -> Seen {
        Seen {
            deliveries: self.deliveries,
            messages: self.messages,
            span: self.span,
            latency: self.latency.summary(),
            whole: self.whole.summary(),
            findings: self.findings,
        }
    }
}

/// State that the threads share.
#[derive(Clone, Copy)]
struct Stage<'a> {
    pace: Pace,
    publish: &'a (dyn Fn(usize, Vec<Vec<u8>>) -> Outcome<()> + Sync),
    /// Set by the leading thread once all rooms are sealed: each thread ends when its rooms are
    /// complete.
    over: &'a AtomicBool,
    /// Set when one thread has failed: all threads end.
    failed: &'a AtomicBool,
}

/// Ends the other threads when this one panics.
struct FailOnPanic<'a>(&'a AtomicBool);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Reader of one thread's members.
struct Crowd<'a> {
    rooms: Vec<Room>,
    /// Members by connection.
    members: Vec<Member>,
    stage: Stage<'a>,
    /// Callback of the leading thread; `None` in the other threads. Gets true when the measured
    /// part begins and false when it ends.
    marks: Option<&'a mut (dyn FnMut(bool) + Send)>,
    phase: Phase,
    moved: u64,
    /// Time of the current read, shared by all its packets.
    now: Option<u64>,
    seen: Tally,
}

impl<'a> Crowd<'a> {
    fn new(rooms: &[Arc<Shared>], members: &[(ConnId, u32)], stage: Stage<'a>, now: u64) -> Self {
        let rooms: Vec<Room> = rooms
            .iter()
            .map(|room| Room::new(Arc::clone(room), now))
            .collect();
        let mut all = Vec::new();
        for &(conn, of) in members {
            let slot = conn as usize;
            if all.len() <= slot {
                all.resize_with(slot + 1, Member::nowhere);
            }
            if let (Some(member), Some(room)) = (all.get_mut(slot), rooms.get(of as usize)) {
                *member = room.join(of);
            }
        }
        Self {
            rooms,
            members: all,
            stage,
            marks: None,
            phase: Phase::Warm(now),
            moved: now,
            now: None,
            seen: Tally::new(now),
        }
    }

    const fn leads(&self) -> bool {
        self.marks.is_some()
    }

    fn mark(&mut self, begin: bool) {
        if let Some(marks) = self.marks.as_mut() {
            marks(begin);
        }
    }

    fn fail(&self) {
        self.stage.failed.store(true, Ordering::Relaxed);
    }

    const fn counts(&self) -> bool {
        matches!(self.phase, Phase::Counts(_))
    }

    /// Enters the next phase when its time has come.
    fn age(&mut self, now: u64) {
        let pace = self.stage.pace;
        match self.phase {
            Phase::Warm(since) if now - since >= clock::nanos(pace.warm_up) => {
                self.phase = Phase::Counts(now);
                self.seen.latency = Latency::new(now);
                self.seen.whole = Latency::new(now);
                self.mark(true);
            }
            Phase::Counts(since) if now - since >= clock::nanos(pace.span) => {
                self.phase = Phase::Drains;
                self.seen.span = Duration::from_nanos(now - since);
                self.mark(false);
                if self.leads() {
                    // Seal before `over` is set: a thread that sees `over` relies on no further
                    // burst.
                    self.rooms.iter().for_each(Room::seal);
                    self.stage.over.store(true, Ordering::Release);
                }
            }
            _ => {}
        }
    }

    /// Publishes the next burst of a room.
    fn burst(&mut self, at: usize, contents: Vec<Vec<u8>>) {
        if self.counts() {
            self.seen.messages += contents.len() as u64;
        }
        if let Err(error) = (self.stage.publish)(at, contents) {
            let text = || format!("publishing: {error}");
            self.seen.findings.add(Finding::Unanswered, text);
            self.fail();
        }
    }

    /// Publishes the bursts that are due; returns the time at which the next one is due.
    fn publish_due(&mut self, now: u64) -> u64 {
        let burst = self.stage.pace.burst;
        let mut soonest = now + NAP;
        for at in 0..self.rooms.len() {
            let Some(room) = self.rooms.get_mut(at) else {
                break;
            };
            let Some(rate) = self.stage.pace.rate else {
                if let Some(contents) = room.publish_when_complete(burst, now) {
                    self.burst(at, contents);
                }
                continue;
            };
            // In an open loop only the leading thread publishes, so that each burst goes out once.
            if self.marks.is_none() {
                break;
            }
            let gap = clock::nanos(Duration::from_secs_f64(1.0 / rate.max(1e-3)));
            let mut due = Vec::new();
            while room.next <= now {
                due.push(room.publish(burst, room.next));
                room.next += gap;
            }
            soonest = soonest.min(room.next);
            for contents in due {
                self.burst(at, contents);
            }
        }
        soonest
    }

    /// Checks one delivery to a member, and records its times.
    fn deliver(&mut self, id: ConnId, pushed: &Pushed<'_>) {
        let member = self.members.get_mut(id as usize);
        let room = member
            .as_ref()
            .and_then(|it| self.rooms.get_mut(it.room as usize));
        let (Some(member), Some(room)) = (member, room) else {
            self.seen.findings.add(Finding::Misdirected, || {
                format!("connection {id} is not a member of a room")
            });
            return;
        };
        let Some(right) = room.deliver(member, pushed, &mut self.seen.findings) else {
            return;
        };
        let now = *self.now.get_or_insert_with(clock::now);
        self.moved = now;
        if matches!(self.phase, Phase::Counts(_)) {
            self.seen.deliveries += 1;
            self.seen.latency.record(right.due, now);
            if right.last {
                self.seen.whole.record(room.begun(), now);
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
                .seen
                .findings
                .add(Finding::Damaged, || "a push without a message".to_owned()),
        }
    }

    fn read(&mut self, _net: &mut Net, _id: ConnId) {
        self.now = None;
    }

    fn closed(&mut self, _net: &mut Net, id: ConnId, why: &str) {
        self.seen.findings.add(Finding::Connection, || {
            format!("connection {id} was lost: {why}")
        });
        self.fail();
    }

    fn turn(&mut self, _net: &mut Net, now: u64) -> Option<u64> {
        self.age(now);
        // Read `over` before the rooms: once it is set, nothing more is published and the open
        // counts only fall. In the other order, a burst published between the two reads would be
        // missed.
        let over = self.phase == Phase::Drains && self.stage.over.load(Ordering::Acquire);
        let complete = self.rooms.iter().all(Room::is_complete);
        if self.stage.failed.load(Ordering::Relaxed) || (over && complete) {
            return None;
        }
        if self.leads() && !complete && now.saturating_sub(self.moved) > STUCK {
            let lost: u64 = self.rooms.iter().map(Room::open).sum();
            self.seen.findings.add(Finding::Dropped, || {
                format!("{lost} deliveries are missing")
            });
            self.fail();
            return None;
        }
        if self.phase == Phase::Drains {
            return Some(now + NAP);
        }
        Some(self.publish_due(now))
    }
}
