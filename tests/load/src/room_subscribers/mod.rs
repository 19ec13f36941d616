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
use crate::judge::{FindingKind, JudgeFindings, PushedMessage};
use crate::latency::{LatencyRecorder, LatencySummary};
use crate::measured_limit::ProbeOutcome;
use crate::net::{ClientNet, ConnId, ConnectionActor, ServerPacket, drive, read_push};
use room::{ReaderRoom, RoomMember, SharedRoom};

pub use room::{CONTENT, content};

/// Nanoseconds without a delivery after which messages count as lost.
const STUCK: u64 = 10 * SECOND;

/// Nanoseconds after which an idle thread looks at the time again.
const NAP: u64 = SECOND / 10;

/// Callback that publishes: gets the index of the room and the contents.
pub type PublishCallback<'a> = Box<dyn FnMut(usize, Vec<Vec<u8>>) -> ProbeOutcome<()> + Send + 'a>;

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
pub struct MemberSection {
    /// Connections of the members.
    pub net: ClientNet,
    /// Each member's connection, and the index of its room.
    pub members: Vec<(ConnId, u32)>,
}

/// Pacing of the messages.
#[derive(Clone, Copy, Debug)]
pub struct RoomPace {
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
pub struct RoomResults {
    /// Deliveries in the measured part.
    pub deliveries: u64,
    /// Messages published in the measured part.
    pub messages: u64,
    /// Measured length of that part.
    pub span: Duration,
    /// Times from when a message was due to each delivery.
    pub latency: LatencySummary,
    /// Times from when a burst was due until the last member had all of it.
    pub whole: LatencySummary,
    /// Findings of the checks.
    pub findings: JudgeFindings,
}

/// Phase of a run, with the time at which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunPhase {
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
/// `sections` is empty, or the connections cannot be driven.
pub fn gather(
    sections: &mut [MemberSection],
    rooms: &[i64],
    pace: RoomPace,
    publish: PublishCallback<'_>,
    marks: &mut (dyn FnMut(bool) + Send),
) -> io::Result<RoomResults> {
    let now = clock::now();
    let rooms: Vec<Arc<SharedRoom>> = rooms
        .iter()
        .map(|&id| Arc::new(SharedRoom::new(id)))
        .collect();
    let publish = Mutex::new(publish);
    let (over, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let publish = |room: usize, contents: Vec<Vec<u8>>| {
        let mut publish = publish.lock().unwrap_or_else(PoisonError::into_inner);
        publish(room, contents)
    };
    let stage = SharedRun {
        pace,
        publish: &publish,
        over: &over,
        failed: &failed,
    };
    // All members join before any thread reads: a burst must know the number of its deliveries.
    let readers = sections.iter_mut().map(|section| {
        let reader = MemberReader::new(&rooms, &section.members, stage, now);
        (&mut section.net, reader)
    });
    let mut readers: Vec<_> = readers.collect();
    let (net, mut leader) = readers
        .pop()
        .ok_or_else(|| io::Error::other("there is no section of members"))?;
    leader.marks = Some(marks);
    thread::scope(|scope| {
        let read = |(net, mut reader): (&mut ClientNet, MemberReader<'_>)| {
            let _guard = FailOnPanic(&failed);
            let read = drive(net, &mut reader);
            if read.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            read.map(|()| reader.seen)
        };
        let others: Vec<_> = readers
            .into_iter()
            .map(|reader| scope.spawn(move || read(reader)))
            .collect();
        let guard = FailOnPanic(&failed);
        let led = drive(net, &mut leader);
        drop(guard);
        if led.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        let mut seen = leader.seen;
        for other in others {
            let more: io::Result<ReaderTally> = other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a reading thread panicked")));
            seen.merge(more?);
        }
        led.map(|()| seen.into_results())
    })
}

/// Counters of one thread.
#[derive(Debug)]
struct ReaderTally {
    deliveries: u64,
    messages: u64,
    span: Duration,
    latency: LatencyRecorder,
    whole: LatencyRecorder,
    findings: JudgeFindings,
}

impl ReaderTally {
    fn new(now: u64) -> Self {
        Self {
            deliveries: 0,
            messages: 0,
            span: Duration::ZERO,
            latency: LatencyRecorder::new(now),
            whole: LatencyRecorder::new(now),
            findings: JudgeFindings::default(),
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

    fn into_results(self) -> RoomResults {
        RoomResults {
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
struct SharedRun<'a> {
    pace: RoomPace,
    publish: &'a (dyn Fn(usize, Vec<Vec<u8>>) -> ProbeOutcome<()> + Sync),
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
struct MemberReader<'a> {
    rooms: Vec<ReaderRoom>,
    /// Members by connection.
    members: Vec<RoomMember>,
    run: SharedRun<'a>,
    /// Callback of the leading thread; `None` in the other threads. Gets true when the measured
    /// part begins and false when it ends.
    marks: Option<&'a mut (dyn FnMut(bool) + Send)>,
    phase: RunPhase,
    moved: u64,
    /// Time of the current read, shared by all its packets.
    now: Option<u64>,
    seen: ReaderTally,
}

impl<'a> MemberReader<'a> {
    fn new(
        rooms: &[Arc<SharedRoom>],
        members: &[(ConnId, u32)],
        stage: SharedRun<'a>,
        now: u64,
    ) -> Self {
        let rooms: Vec<ReaderRoom> = rooms
            .iter()
            .map(|room| ReaderRoom::new(Arc::clone(room), now))
            .collect();
        let mut all = Vec::new();
        for &(conn, of) in members {
            let slot = conn as usize;
            if all.len() <= slot {
                all.resize_with(slot + 1, RoomMember::nowhere);
            }
            if let (Some(member), Some(room)) = (all.get_mut(slot), rooms.get(of as usize)) {
                *member = room.join(of);
            }
        }
        Self {
            rooms,
            members: all,
            run: stage,
            marks: None,
            phase: RunPhase::Warm(now),
            moved: now,
            now: None,
            seen: ReaderTally::new(now),
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
        self.run.failed.store(true, Ordering::Relaxed);
    }

    const fn counts(&self) -> bool {
        matches!(self.phase, RunPhase::Counts(_))
    }

    /// Enters the next phase when its time has come.
    fn age(&mut self, now: u64) {
        let pace = self.run.pace;
        match self.phase {
            RunPhase::Warm(since) if now - since >= clock::nanos(pace.warm_up) => {
                self.phase = RunPhase::Counts(now);
                self.seen.latency = LatencyRecorder::new(now);
                self.seen.whole = LatencyRecorder::new(now);
                self.mark(true);
            }
            RunPhase::Counts(since) if now - since >= clock::nanos(pace.span) => {
                self.phase = RunPhase::Drains;
                self.seen.span = Duration::from_nanos(now - since);
                self.mark(false);
                if self.leads() {
                    // Seal before `over` is set: a thread that sees `over` relies on no further
                    // burst.
                    self.rooms.iter().for_each(ReaderRoom::seal);
                    self.run.over.store(true, Ordering::Release);
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
        if let Err(error) = (self.run.publish)(at, contents) {
            let text = || format!("publishing: {error}");
            self.seen.findings.add(FindingKind::Unanswered, text);
            self.fail();
        }
    }

    /// Publishes the bursts that are due; returns the time at which the next one is due.
    fn publish_due(&mut self, now: u64) -> u64 {
        let burst = self.run.pace.burst;
        let mut soonest = now + NAP;
        for at in 0..self.rooms.len() {
            let Some(room) = self.rooms.get_mut(at) else {
                break;
            };
            let Some(rate) = self.run.pace.rate else {
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
    fn deliver(&mut self, id: ConnId, pushed: &PushedMessage<'_>) {
        let member = self.members.get_mut(id as usize);
        let room = member
            .as_ref()
            .and_then(|it| self.rooms.get_mut(it.room as usize));
        let (Some(member), Some(room)) = (member, room) else {
            self.seen.findings.add(FindingKind::Misdirected, || {
                format!("connection {id} is not a member of a room")
            });
            return;
        };
        let Some(right) = room.deliver(member, pushed, &mut self.seen.findings) else {
            return;
        };
        let now = *self.now.get_or_insert_with(clock::now);
        self.moved = now;
        if matches!(self.phase, RunPhase::Counts(_)) {
            self.seen.deliveries += 1;
            self.seen.latency.record(right.due, now);
            if right.last {
                self.seen.whole.record(room.begun(), now);
            }
        }
    }
}

impl ConnectionActor for MemberReader<'_> {
    fn packet(&mut self, _net: &mut ClientNet, id: ConnId, packet: &ServerPacket<'_>) {
        if !packet.is(PackageType::PtMessage) {
            return;
        }
        match read_push(packet.data) {
            Some(pushed) => self.deliver(id, &pushed),
            None => self.seen.findings.add(FindingKind::Damaged, || {
                "a push without a message".to_owned()
            }),
        }
    }

    fn read(&mut self, _net: &mut ClientNet, _id: ConnId) {
        self.now = None;
    }

    fn closed(&mut self, _net: &mut ClientNet, id: ConnId, why: &str) {
        self.seen.findings.add(FindingKind::Connection, || {
            format!("connection {id} was lost: {why}")
        });
        self.fail();
    }

    fn tick(&mut self, _net: &mut ClientNet, now: u64) -> Option<u64> {
        self.age(now);
        // Read `over` before the rooms: once it is set, nothing more is published and the open
        // counts only fall. In the other order, a burst published between the two reads would be
        // missed.
        let over = self.phase == RunPhase::Drains && self.run.over.load(Ordering::Acquire);
        let complete = self.rooms.iter().all(ReaderRoom::is_complete);
        if self.run.failed.load(Ordering::Relaxed) || (over && complete) {
            return None;
        }
        if self.leads() && !complete && now.saturating_sub(self.moved) > STUCK {
            let lost: u64 = self.rooms.iter().map(ReaderRoom::open).sum();
            self.seen.findings.add(FindingKind::Dropped, || {
                format!("{lost} deliveries are missing")
            });
            self.fail();
            return None;
        }
        if self.phase == RunPhase::Drains {
            return Some(now + NAP);
        }
        Some(self.publish_due(now))
    }
}
