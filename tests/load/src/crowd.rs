//! The members of rooms: a program that receives what is published and judges it. Serves the `room`
//! scenario and the bare fan-out that it is compared with, so that both are received alike.
//!
//! Each room has a burst of messages under way at a time; the next goes out when every member has
//! the last of them, or at the room's beat. Every delivery is compared with what was published:
//! once, in the same order for all, the right room, every byte.

use std::time::Duration;

use gimlet_proto::pb::PackageType;
use hdrhistogram::Histogram;

use crate::clock::{self, SECOND};
use crate::limits::Outcome;
use crate::net::{Actor, ConnId, Net, Packet, Pushed};

/// Bytes of a message: its number, when it was due, and filling.
pub const CONTENT: usize = 100;

/// Without a delivery for this long, something is lost.
const STUCK: u64 = 10 * SECOND;

/// What is published: called with the room's number among the crowd's, and the contents.
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

/// A room, its members and what was published in it.
#[derive(Debug)]
struct Room {
    id: i64,
    members: u64,
    /// When each message was due; its number is its place here, from 0.
    due: Vec<u64>,
    /// The order in which members get the numbers; fixed by the first who gets each place.
    order: Vec<u64>,
    /// By number: whether it has a place.
    placed: Vec<bool>,
    /// The seq of the first place, once known.
    base: Option<i64>,
    /// Deliveries of all that was published.
    delivered: u64,
    /// When the next burst is due, in an open loop.
    next: u64,
    begun: u64,
}

impl Room {
    /// Deliveries of what was published so far.
    const fn due(&self) -> u64 {
        self.members * self.due.len() as u64
    }

    const fn is_complete(&self) -> bool {
        self.delivered == self.due()
    }
}

/// Where one member is.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    room: u32,
    /// Places received.
    received: u64,
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
    /// Nanoseconds from when a message was due to each delivery.
    pub latency: Histogram<u64>,
    /// Nanoseconds until the last member had a whole burst.
    pub whole: Histogram<u64>,
    /// What was wrong; empty if each message was delivered once, in order, to the right members.
    pub faults: Vec<String>,
}

/// The crowd.
pub struct Crowd<'a> {
    rooms: Vec<Room>,
    members: Vec<Member>,
    pace: Pace,
    publish: Publish<'a>,
    marks: &'a mut dyn FnMut(bool),
    phase: Phase,
    moved: u64,
    now: Option<u64>,
    seen: Seen,
    done: bool,
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

/// Most faults kept: the rest would say the same.
const FAULTS: usize = 20;

impl std::fmt::Debug for Crowd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd")
            .field("rooms", &self.rooms.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Crowd<'a> {
    /// Members of rooms: each connection with the place of its room in `rooms`, which are ids.
    ///
    /// `marks` is called with true when counting begins and with false when it ends.
    ///
    /// # Errors
    /// The histogram's bounds are wrong.
    pub fn new(
        rooms: &[i64],
        members: &[(ConnId, u32)],
        pace: Pace,
        publish: Publish<'a>,
        marks: &'a mut dyn FnMut(bool),
    ) -> Outcome<Self> {
        let now = clock::now();
        let mut all = Vec::new();
        for &(conn, room) in members {
            let slot = usize::try_from(conn)?;
            if all.len() <= slot {
                all.resize(
                    slot + 1,
                    Member {
                        room: u32::MAX,
                        received: 0,
                    },
                );
            }
            if let Some(member) = all.get_mut(slot) {
                member.room = room;
            }
        }
        let count = |room: usize| {
            members
                .iter()
                .filter(|(_, of)| *of as usize == room)
                .count()
        };
        let rooms = rooms.iter().enumerate().map(|(at, &id)| Room {
            id,
            members: count(at) as u64,
            due: Vec::new(),
            order: Vec::new(),
            placed: Vec::new(),
            base: None,
            delivered: 0,
            next: now,
            begun: now,
        });
        let histogram = || Histogram::new_with_bounds(1, 100 * SECOND, 3);
        Ok(Self {
            rooms: rooms.collect(),
            members: all,
            pace,
            publish,
            marks,
            phase: Phase::Warm(now),
            moved: now,
            now: None,
            seen: Seen {
                deliveries: 0,
                messages: 0,
                span: Duration::ZERO,
                latency: histogram()?,
                whole: histogram()?,
                faults: Vec::new(),
            },
            done: false,
        })
    }

    /// What was seen.
    #[must_use]
    pub fn seen(self) -> Seen {
        self.seen
    }

    fn fault(&mut self, text: String) {
        if self.seen.faults.len() < FAULTS {
            self.seen.faults.push(text);
        }
    }

    /// Publishes the next burst of the room.
    fn burst(&mut self, at: usize, due: u64) {
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        room.begun = due;
        let first = room.due.len() as u64;
        let contents = (first..first + self.pace.burst)
            .map(|n| content(n, due))
            .collect();
        room.due.extend((0..self.pace.burst).map(|_| due));
        room.placed.resize(room.due.len(), false);
        if self.counts() {
            self.seen.messages += self.pace.burst;
        }
        if let Err(error) = (self.publish)(at, contents) {
            self.fault(format!("publishing failed: {error}"));
            self.done = true;
        }
    }

    /// Publishes what is due; says when the next is.
    fn publish_due(&mut self, now: u64) -> u64 {
        let mut soonest = now + SECOND / 10;
        for at in 0..self.rooms.len() {
            let Some(room) = self.rooms.get_mut(at) else {
                break;
            };
            match self.pace.rate {
                None if room.is_complete() => {
                    self.burst(at, now);
                }
                None => {}
                Some(rate) => {
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
            }
        }
        soonest
    }

    /// Notes one delivery; says what is wrong with it.
    fn deliver(&mut self, id: ConnId, pushed: &Pushed<'_>) -> Result<(), String> {
        let member = self
            .members
            .get_mut(id as usize)
            .ok_or("a stranger got a message")?;
        let room = self
            .rooms
            .get_mut(member.room as usize)
            .ok_or("a stranger got a message")?;
        if (pushed.receiver_type, pushed.receiver) != (3, room.id) {
            let got = (pushed.receiver_type, pushed.receiver);
            return Err(format!(
                "a member of room {} got a message of {got:?}",
                room.id
            ));
        }
        let place = member.received;
        let base = *room.base.get_or_insert(pushed.seq);
        if u64::try_from(pushed.seq - base) != Ok(place) {
            return Err(format!(
                "seq {} came where {place} behind {base} was due",
                pushed.seq
            ));
        }
        let number = number(pushed.content).ok_or("a content of nobody")?;
        let due = room
            .due
            .get(usize::try_from(number).unwrap_or(usize::MAX))
            .copied();
        let due = due.ok_or_else(|| format!("message {number} was never published"))?;
        if !is_content(pushed.content, due) {
            return Err(format!("message {number} came with other bytes"));
        }
        match room.order.get(usize::try_from(place).unwrap_or(usize::MAX)) {
            Some(&first) if first != number => {
                return Err(format!(
                    "place {place} is {first} for one and {number} for another"
                ));
            }
            Some(_) => {}
            None => {
                let placed = usize::try_from(number)
                    .ok()
                    .and_then(|at| room.placed.get_mut(at));
                if placed.is_none_or(|it| std::mem::replace(it, true)) {
                    return Err(format!("message {number} came twice"));
                }
                room.order.push(number);
            }
        }
        member.received += 1;
        room.delivered += 1;
        let now = *self.now.get_or_insert_with(clock::now);
        self.moved = now;
        if matches!(self.phase, Phase::Counts(_)) {
            self.seen.deliveries += 1;
            self.seen.latency.saturating_record(now.saturating_sub(due));
            if room.is_complete() {
                self.seen
                    .whole
                    .saturating_record(now.saturating_sub(room.begun));
            }
        }
        Ok(())
    }

    const fn counts(&self) -> bool {
        matches!(self.phase, Phase::Counts(_))
    }

    /// Goes on to the next phase when the time has come.
    fn age(&mut self, now: u64) {
        match self.phase {
            Phase::Warm(since) if now - since >= clock::nanos(self.pace.warm_up) => {
                self.phase = Phase::Counts(now);
                (self.marks)(true);
            }
            Phase::Counts(since) if now - since >= clock::nanos(self.pace.span) => {
                self.phase = Phase::Drains;
                self.seen.span = Duration::from_nanos(now - since);
                (self.marks)(false);
            }
            _ => {}
        }
    }
}

impl Actor for Crowd<'_> {
    fn packet(&mut self, _net: &mut Net, id: ConnId, packet: &Packet<'_>) {
        if !packet.is(PackageType::PtMessage) {
            return;
        }
        let delivered = match Pushed::read(packet.data) {
            Some(pushed) => self.deliver(id, &pushed),
            None => Err("a push that is no message".to_owned()),
        };
        if let Err(text) = delivered {
            self.fault(format!("connection {id}: {text}"));
        }
    }

    fn read(&mut self, _net: &mut Net, _id: ConnId) {
        self.now = None;
    }

    fn closed(&mut self, _net: &mut Net, id: ConnId, why: &str) {
        self.fault(format!("connection {id} was lost: {why}"));
        self.done = true;
    }

    fn turn(&mut self, _net: &mut Net, now: u64) -> Option<u64> {
        self.age(now);
        let complete = self.rooms.iter().all(Room::is_complete);
        if self.done || (self.phase == Phase::Drains && complete) {
            return None;
        }
        if !complete && now.saturating_sub(self.moved) > STUCK {
            let lost: u64 = self
                .rooms
                .iter()
                .map(|room| room.due() - room.delivered)
                .sum();
            self.fault(format!("{lost} deliveries did not come"));
            return None;
        }
        if self.phase == Phase::Drains {
            return Some(now + SECOND / 10);
        }
        Some(self.publish_due(now))
    }
}

/// The bytes of a message.
#[must_use]
pub fn content(number: u64, due: u64) -> Vec<u8> {
    let mut content = vec![b'.'; CONTENT];
    for (place, byte) in content
        .iter_mut()
        .zip(number.to_be_bytes().into_iter().chain(due.to_be_bytes()))
    {
        *place = byte;
    }
    content
}

fn number(content: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*content.first_chunk()?))
}

/// Whether the bytes behind the number are those of a message that was due then.
fn is_content(bytes: &[u8], due: u64) -> bool {
    const FILLING: [u8; CONTENT - 16] = [b'.'; CONTENT - 16];
    bytes.get(8..16) == Some(&due.to_be_bytes()) && bytes.get(16..) == Some(&FILLING)
}
