//! Thousands of client connections on one thread. Serves the scenarios; knows frames and packets,
//! but nothing of their meaning.
//!
//! One thread, one epoll, no task and no timer per connection: the load generator shares the
//! machine with the server, so a message must cost it little more than its system calls. A scenario
//! is an [`ConnectionActor`]: [`drive`] calls it for each packet and asks it when it wants to act
//! next. Its packets are collected and written once per turn and connection.
//!
//! The order of a turn in [`drive`] is fixed: the actor acts, all collected packets are written,
//! the thread waits, and then the events are handled. Epoll is edge-triggered: a socket is read
//! until it is empty, and bytes that it did not take are written after its next event.

mod compose;
mod conn;
mod connect_target;
mod events;
mod framing;
mod join;
mod json;
mod packet;
mod sources;

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use gimlet_proto::pb::PackageType;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::clock;
use conn::{ClientConnection, ConnectionStage};
use events::FollowedInbox;
use framing::ParsedItem;

pub use compose::{AckBody, PacketBody, RawBody, SendBody};
pub use conn::TrafficCounts;
pub use connect_target::ConnectTarget;
pub use framing::WireFraming;
pub use join::{JoinedConnection, join, sign_in_body};
pub use packet::{ServerPacket, answered_seq, epoch_and_head, page, read_push};
pub use sources::SourceAddresses;

/// Number of a connection within its [`ClientNet`]; reused after the connection is closed.
pub type ConnId = u32;

/// Event data of the waker, which is not a connection.
const WAKE_EVENT: u64 = u64::MAX;

/// Bytes read at a time.
const SCRATCH: usize = 256 * 1024;

/// Events taken at a time.
const EVENTS: usize = 1024;

/// Longest sleep in nanoseconds, so that an actor sees the time pass.
const NAP: u64 = 100_000_000;

/// Callbacks of a scenario on its connections.
pub trait ConnectionActor {
    /// Called when the connection may be used.
    fn opened(&mut self, _net: &mut ClientNet, _id: ConnId) {}

    /// Called for each packet.
    fn packet(&mut self, net: &mut ClientNet, id: ConnId, packet: &ServerPacket<'_>);

    /// Called after all packets of one read.
    fn read(&mut self, _net: &mut ClientNet, _id: ConnId) {}

    /// Called when the connection is gone; its number may be reused.
    fn closed(&mut self, net: &mut ClientNet, id: ConnId, why: &str);

    /// Called once per turn. Returns the latest time of the next turn, or `None` when all is done.
    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64>;
}

/// Wakes a sleeping [`drive`] from another thread.
#[derive(Clone, Debug)]
pub struct DriveWaker(Arc<OwnedFd>);

impl DriveWaker {
    /// Gives the actor a turn soon.
    pub fn wake(&self) {
        // A full counter wakes the thread as well.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// The connections of one thread.
#[derive(Debug)]
pub struct ClientNet {
    epoll: OwnedFd,
    waker: DriveWaker,
    target: ConnectTarget,
    conns: Vec<Option<ClientConnection>>,
    free: Vec<ConnId>,
    open: usize,
    made: u64,
    dirty: Vec<ConnId>,
    scratch: Vec<u8>,
    traffic: TrafficCounts,
    /// Answers to packets that an event stream does not send.
    local: Vec<(ConnId, Vec<u8>)>,
}

impl ClientNet {
    /// Creates a set without connections.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new(place: ConnectTarget) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &wake,
            EventData::new_u64(WAKE_EVENT),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Self {
            epoll,
            waker: DriveWaker(Arc::new(wake)),
            target: place,
            conns: Vec::new(),
            free: Vec::new(),
            open: 0,
            made: 0,
            dirty: Vec::new(),
            scratch: vec![0; SCRATCH],
            traffic: TrafficCounts::default(),
            local: Vec::new(),
        })
    }

    /// Returns a handle that wakes the thread.
    #[must_use]
    pub fn waker(&self) -> DriveWaker {
        self.waker.clone()
    }

    /// Returns the number of connections, open or being set up.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open
    }

    /// Returns true if there are no connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Returns the system calls and bytes so far.
    #[must_use]
    pub fn traffic(&self) -> TrafficCounts {
        self.traffic
    }

    /// Begins a connection; [`ConnectionActor::opened`] or [`ConnectionActor::closed`] follows.
    ///
    /// # Errors
    /// The system refuses at once, for example without descriptors or ports.
    pub fn connect(&mut self) -> io::Result<ConnId> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            ConnId::try_from(self.conns.len() - 1).unwrap_or(ConnId::MAX)
        });
        let conn = ClientConnection::begin(&self.target, self.made).and_then(|conn| {
            epoll::add(
                &self.epoll,
                conn.stream(),
                EventData::new_u64(u64::from(id)),
                EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
            )?;
            Ok(conn)
        });
        match (conn, self.conns.get_mut(id as usize)) {
            (Ok(conn), Some(slot)) => {
                *slot = Some(conn);
                self.made += 1;
                self.open += 1;
                Ok(id)
            }
            (conn, _) => {
                self.free.push(id);
                conn.map(|_| id)
            }
        }
    }

    /// Closes a connection without notice; [`ConnectionActor::closed`] is not called.
    pub fn close(&mut self, id: ConnId) {
        if let Some(slot) = self.conns.get_mut(id as usize)
            && slot.take().is_some()
        {
            self.open -= 1;
            self.free.push(id);
        }
    }

    /// Adds a packet to those of this turn; does nothing if the connection is gone.
    pub fn send(&mut self, id: ConnId, kind: PackageType, request_id: i64, body: &impl PacketBody) {
        let framing = self.target.framing;
        if framing == WireFraming::Events {
            let mut data = Vec::with_capacity(body.length());
            body.write(&mut data);
            return self.send_by_events(id, kind, request_id, &data);
        }
        if let Some(conn) = self.conn(id) {
            compose::frame(&mut conn.out, framing, kind, request_id, body);
            if !mem::replace(&mut conn.dirty, true) {
                self.dirty.push(id);
            }
        }
    }

    /// Opens or reopens the event stream that a packet asks for, or answers the packet here.
    fn send_by_events(&mut self, id: ConnId, kind: PackageType, request_id: i64, data: &[u8]) {
        let room = match (kind, self.conn(id)) {
            (_, None) => return,
            (PackageType::PtSignIn, Some(conn)) => {
                conn.follows = Some(Box::new(FollowedInbox::of(request_id, data)));
                conn.stage = ConnectionStage::Upgrading;
                None
            }
            (PackageType::PtSubscribeRoom, Some(conn)) => {
                let Some(mut follows) = conn.follows.take() else {
                    return;
                };
                let room = follows.subscribe(request_id, data);
                self.reopen(id, follows);
                Some(room)
            }
            (kind, Some(_)) => {
                let answer = events::local_answer(kind, request_id);
                self.local.extend(answer.map(|answer| (id, answer)));
                return;
            }
        };
        if let Some(conn) = self.conn(id)
            && let Some(follows) = &conn.follows
        {
            conn.out.extend_from_slice(follows.request(room).as_bytes());
            if !mem::replace(&mut conn.dirty, true) {
                self.dirty.push(id);
            }
        }
    }

    /// Replaces a connection by a new one under the same number. One that cannot be made is noticed
    /// as a connection without answers.
    fn reopen(&mut self, id: ConnId, follows: Box<FollowedInbox>) {
        let Ok(mut conn) = ClientConnection::begin(&self.target, self.made) else {
            return;
        };
        self.made += 1;
        let added = epoll::add(
            &self.epoll,
            conn.stream(),
            EventData::new_u64(u64::from(id)),
            EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
        );
        if let (Ok(()), Some(slot)) = (added, self.conns.get_mut(id as usize)) {
            conn.follows = Some(follows);
            *slot = Some(conn);
        }
    }

    /// Hands the local answers to the actor.
    fn answer_locally(&mut self, actor: &mut impl ConnectionActor) {
        while !self.local.is_empty() {
            for (id, answer) in mem::take(&mut self.local) {
                if let Some(packet) = ServerPacket::read(&answer) {
                    actor.packet(self, id, &packet);
                }
            }
        }
    }

    /// Returns the number of bytes that wait to be written to a connection.
    #[must_use]
    pub fn backlog(&self, id: ConnId) -> usize {
        let conn = self.conns.get(id as usize).and_then(Option::as_ref);
        conn.map_or(0, |conn| conn.out.len() - conn.written)
    }

    fn conn(&mut self, id: ConnId) -> Option<&mut ClientConnection> {
        self.conns.get_mut(id as usize)?.as_mut()
    }

    fn fail(&mut self, actor: &mut impl ConnectionActor, id: ConnId, why: &str) {
        if self.conn(id).is_some() {
            self.close(id);
            actor.closed(self, id, why);
        }
    }

    /// Writes the packets of the turn.
    fn flush(&mut self, actor: &mut impl ConnectionActor) {
        // A connection that fails calls the actor, which may send: those packets go to the new,
        // empty list, and the next flush writes them.
        let mut dirty = mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(id as usize).and_then(Option::as_mut) else {
                continue;
            };
            conn.dirty = false;
            if let Err(error) = conn.flush(&mut self.traffic) {
                self.fail(actor, id, &error.to_string());
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>, nanos: u64) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(nanos.min(NAP)).unwrap_or(0),
        };
        events.clear();
        self.traffic.waits += 1;
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn event(&mut self, actor: &mut impl ConnectionActor, id: ConnId, flags: EventFlags) {
        let framing = self.target.framing;
        let Some(conn) = self.conn(id) else { return };
        if conn.stage == ConnectionStage::Connecting {
            match conn.arrived(framing) {
                Err(error) => return self.fail(actor, id, &error.to_string()),
                Ok(()) if conn.stage == ConnectionStage::Open => actor.opened(self, id),
                Ok(()) => {}
            }
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            self.read(actor, id, flags.contains(EventFlags::RDHUP));
        }
        // The edge may be one of writing: try again to write the bytes that the socket did not take
        // before.
        if let Some(conn) = self.conn(id)
            && !conn.out.is_empty()
            && !mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// Reads until the socket is empty, because events are edge-triggered. A read that does not
    /// fill the buffer took the last bytes, unless the peer closed behind them: then a further read
    /// must report the end.
    fn read(&mut self, actor: &mut impl ConnectionActor, id: ConnId, closing: bool) {
        let mut scratch = mem::take(&mut self.scratch);
        while let Some(conn) = self.conn(id) {
            match conn.stream().read(&mut scratch) {
                Ok(0) => self.fail(actor, id, "closed by the server"),
                Ok(n) => {
                    self.traffic.reads += 1;
                    self.traffic.bytes_in += n as u64;
                    self.feed(actor, id, scratch.get(..n).unwrap_or_default());
                    if n < scratch.len() && !closing {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(actor, id, &error.to_string()),
            }
        }
        self.scratch = scratch;
    }

    fn feed(&mut self, actor: &mut impl ConnectionActor, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conn(id) else { return };
        // The unfinished frame is taken out, because the actor may close the connection meanwhile.
        let mut before = mem::take(&mut conn.partial);
        let all = if before.is_empty() {
            bytes
        } else {
            before.extend_from_slice(bytes);
            &before
        };
        let left = self.frames(actor, id, all);
        if let Some(conn) = self.conn(id)
            && left > 0
        {
            conn.partial = all.get(all.len() - left..).unwrap_or_default().to_vec();
        }
        actor.read(self, id);
    }

    /// Handles all complete frames; returns the number of bytes left over.
    fn frames(&mut self, actor: &mut impl ConnectionActor, id: ConnId, all: &[u8]) -> usize {
        let framing = self.target.framing;
        let mut rest = all;
        while let Some(conn) = self.conn(id) {
            if conn.stage == ConnectionStage::Upgrading {
                match framing::upgraded(rest) {
                    None => break,
                    Some(Err(why)) => {
                        self.fail(actor, id, &why);
                        break;
                    }
                    Some(Ok(end)) => {
                        conn.stage = ConnectionStage::Open;
                        rest = rest.get(end..).unwrap_or_default();
                        if framing != WireFraming::Events {
                            actor.opened(self, id);
                        }
                        continue;
                    }
                }
            }
            let took = match framing.find(rest) {
                ParsedItem::Partial => break,
                ParsedItem::Frame(body, took) => {
                    let packet = match framing {
                        WireFraming::Tcp | WireFraming::Ws => Some(Cow::Borrowed(body)),
                        WireFraming::Json => json::encoded(body).map(Cow::Owned),
                        WireFraming::Events => {
                            let follows = conn.follows.as_ref();
                            follows.and_then(|it| it.packet(body)).map(Cow::Owned)
                        }
                    };
                    let is_ignored = framing == WireFraming::Events
                        && packet.as_deref().is_some_and(<[u8]>::is_empty);
                    match packet.as_deref().and_then(ServerPacket::read) {
                        Some(_) if is_ignored => {}
                        Some(packet) => actor.packet(self, id, &packet),
                        None => self.fail(actor, id, "a frame that is not a packet"),
                    }
                    took
                }
                ParsedItem::Ping(payload, took) => {
                    conn.pong(payload);
                    took
                }
                ParsedItem::Skip(took) => took,
                ParsedItem::Close(code) => {
                    self.fail(actor, id, &format!("closed by the server with {code}"));
                    break;
                }
                ParsedItem::Broken(why) => {
                    self.fail(actor, id, why);
                    break;
                }
            };
            rest = rest.get(took..).unwrap_or_default();
        }
        rest.len()
    }
}

/// Runs the actor on the connections until it is done.
///
/// # Errors
/// The system cannot wait for events.
pub fn drive(net: &mut ClientNet, actor: &mut impl ConnectionActor) -> io::Result<()> {
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        let now = clock::now();
        let Some(until) = actor.tick(net, now) else {
            net.flush(actor);
            return Ok(());
        };
        // Flush before the wait: no packet of this turn or of the last events may wait through a
        // sleep.
        net.flush(actor);
        let left = until.saturating_sub(clock::now());
        // A connection that failed in the flush may have made the actor send: then do not sleep.
        let is_idle = net.dirty.is_empty() && net.local.is_empty();
        let left = if is_idle { left } else { 0 };
        net.wait(&mut events, left)?;
        net.answer_locally(actor);
        for event in &events {
            let (flags, data) = (event.flags, event.data);
            if let Ok(id) = ConnId::try_from(data.u64()) {
                net.event(actor, id, flags);
            }
        }
    }
}
