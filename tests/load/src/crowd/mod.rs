//! The members of rooms: a program that receives what is published and judges it. Serves the `room`
//! scenario and the bare fan-out that it is compared with, so that both are received alike.
//!
//! A thread for each core reads, four at most: one would be slower than what it measures.
//!
//! Each room has a burst of messages under way at a time; the next goes out when every member has
//! the last of them, or at the room's beat. Every delivery is compared with what was published:
//! once, in the same order for all, in the right room, every byte.

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

/// Without a delivery for this long, something is lost.
const STUCK: u64 = 10 * SECOND;

/// How soon an idle crowd looks at the time again.
const NAP: u64 = SECOND / 10;

/// What publishes: called with the room's place among the crowd's, and the contents.
pub type Publish<'a> = Box<dyn FnMut(usize, Vec<Vec<u8>>) -> Outcome<()> + Send + 'a>;

/// Threads that read, at most.
const THREADS: usize = 4;

/// How many threads read on this machine.
#[must_use]
pub fn threads() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS)
}

/// The members that one thread reads for, each with the place of its room among the crowd's.
#[derive(Debug)]
pub struct Section {
    /// Their connections.
    pub net: Net,
    /// Who they are.
    pub members: Vec<(ConnId, u32)>,
}

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

/// Has the members of rooms, which are ids, receive what is published, as `pace` says. `marks` is
/// called with true when counting begins and with false when it ends.
///
/// # Errors
/// The connections cannot be driven.
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
    // All members are known before any of them reads.
    let crowds = sections.iter_mut().map(|section| {
        let crowd = Crowd::new(&rooms, &section.members, stage, now);
        (&mut section.net, crowd)
    });
    let mut crowds: Vec<_> = crowds.collect();
    let (net, mut leader) = crowds
        .pop()
        .ok_or_else(|| io::Error::other("nobody reads"))?;
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
                .unwrap_or_else(|_| Err(io::Error::other("a thread that reads panicked")));
            seen.merge(more?);
        }
        led.map(|()| seen.told())
    })
}

/// What one thread has seen.
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

/// What the threads share.
#[derive(Clone, Copy)]
struct Stage<'a> {
    pace: Pace,
    publish: &'a (dyn Fn(usize, Vec<Vec<u8>>) -> Outcome<()> + Sync),
    /// The leader counts no more, and nobody publishes: all end when all has come.
    over: &'a AtomicBool,
    /// One of them has failed, and all end.
    failed: &'a AtomicBool,
}

/// Ends the others when a thread panics.
struct FailOnPanic<'a>(&'a AtomicBool);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// What one thread reads for.
struct Crowd<'a> {
    rooms: Vec<Room>,
    /// By connection.
    members: Vec<Member>,
    stage: Stage<'a>,
    /// Of the one who leads: called with true when counting begins and with false when it ends.
    marks: Option<&'a mut (dyn FnMut(bool) + Send)>,
    phase: Phase,
    moved: u64,
    /// The time of the present read.
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

    /// Goes on to the next phase when the time has come.
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

    /// Publishes what is due; says when the next is.
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

    /// A member got a message.
    fn deliver(&mut self, id: ConnId, pushed: &Pushed<'_>) {
        let member = self.members.get_mut(id as usize);
        let room = member
            .as_ref()
            .and_then(|it| self.rooms.get_mut(it.room as usize));
        let (Some(member), Some(room)) = (member, room) else {
            self.seen.findings.add(Finding::Misdirected, || {
                format!("connection {id} is no member")
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
        // Looked at before what is open: nothing is published once it is over.
        let over = self.phase == Phase::Drains && self.stage.over.load(Ordering::Acquire);
        let complete = self.rooms.iter().all(Room::is_complete);
        if self.stage.failed.load(Ordering::Relaxed) || (over && complete) {
            return None;
        }
        if self.leads() && !complete && now.saturating_sub(self.moved) > STUCK {
            let lost: u64 = self.rooms.iter().map(Room::open).sum();
            self.seen.findings.add(Finding::Dropped, || {
                format!("{lost} deliveries did not come")
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
