//! What a connection does next: everything it waits for is polled here, in a fixed order.
//!
//! Answers to sends, then pushes, then the next packet, then the socket's output, then the clock.
//! Output is flushed when there is nothing more to read at once, so that the answers to many
//! packets leave in one write.

use std::collections::VecDeque;
use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::{SinkExt as _, StreamExt as _};
use gimlet_core::envelope::Delivery;
use gimlet_core::hub::Work;
use gimlet_core::room_batch::RoomBatch;
use gimlet_proto::pb::{CloseCode, PackageType};
use tokio::time::Instant;

use super::{Blocked, End, Pacing, Session, Stage};
use crate::close::Close;
use crate::dispatch::{Packet, Request};
use crate::link::{Link, LinkError};
use crate::{convert, encode};

/// Packets handled at most before their answers are flushed.
const TURN: u8 = 32;

/// Acks handled in a row before others get their turn.
const ACKS: usize = 64;

/// What the connection does next.
pub(super) enum Step {
    /// Answer this packet.
    Packet(Box<Packet>),
    /// End.
    End(End),
}

impl From<End> for Step {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// Whether the hub was asked for everything it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hub {
    /// It will wake us, and its deadlines are ours.
    Asked,
    /// Something else has to happen first.
    Later,
}

impl<L: Link> Session<'_, L> {
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            let step = self.poll_once(cx);
            match step {
                Ok(Poll::Ready(Some(packet))) => return Poll::Ready(Step::Packet(packet)),
                // A deadline has passed, or an ack came: look at everything again.
                Ok(Poll::Ready(None)) => {}
                Ok(Poll::Pending) => return Poll::Pending,
                Err(end) => return Poll::Ready(end.into()),
            }
        }
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<Box<Packet>>>, End> {
        if let Some(stop) = self.stop.as_mut()
            && stop.as_mut().poll(cx).is_ready()
        {
            return Err(End::close(
                CloseCode::ShuttingDown,
                "the server is shutting down",
            ));
        }
        self.write_answers(cx)?;
        if self.heartbeat_is_due() && self.poll_room(cx)?.is_ready() {
            self.write_heartbeat()?;
        }
        let hub = self.write_pushes(cx)?;
        let held = self.pace_until().is_some();
        if self.unflushed < TURN
            && let Poll::Ready(packet) = self.poll_packet(cx)?
        {
            self.unflushed += 1;
            return Ok(Poll::Ready(Some(packet)));
        }
        if held && self.pace_until().is_none() {
            // An ack came: a legacy client is ready for the next frame.
            return Ok(Poll::Ready(None));
        }
        if !self.link.is_flushed() {
            // Pending or not: the socket wakes us when it can go on.
            if let Poll::Ready(Err(error)) = self.link.poll_flush_unpin(cx) {
                return Err(error.into());
            }
        }
        if self.unflushed >= TURN {
            self.unflushed = 0;
            cx.waker().wake_by_ref();
            return Ok(Poll::Pending);
        }
        self.unflushed = 0;
        if self.stage == Stage::Ended
            && self.packet.is_none()
            && self.backlog_in_flight() == 0
            && !self.heartbeat_is_due()
            && self.link.is_flushed()
        {
            return Err(End::Gone(None));
        }
        if self
            .backlog
            .as_ref()
            .is_some_and(|backlog| backlog.is_empty())
        {
            self.backlog = None;
            self.link.release_buffers();
        }
        Ok(self.poll_clock(cx, hub)?.map(|()| None))
    }

    /// Writes the answers of sends, in the order of their packets. The sends go on even while there
    /// is no room for an answer.
    fn write_answers(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while self.backlog_in_flight() > 0 {
            let room = self.poll_room(cx)?;
            let Some(backlog) = self.backlog.as_mut() else {
                return Ok(());
            };
            if room.is_pending() {
                backlog.poll_sends(cx);
                return Ok(());
            }
            let Poll::Ready(Some((id, answer))) = backlog.poll_answer(cx) else {
                return Ok(());
            };
            let frame = self.sent(id, answer);
            self.write(frame)?;
        }
        Ok(())
    }

    pub(super) fn backlog_in_flight(&self) -> usize {
        self.backlog
            .as_ref()
            .map_or(0, |backlog| backlog.in_flight())
    }

    fn pace_until(&self) -> Option<Instant> {
        self.pacing.as_ref().and_then(|pacing| pacing.until())
    }

    fn heartbeat_waits(&self) -> bool {
        let pacing = self.pacing.as_ref();
        pacing.is_some_and(|pacing| pacing.heartbeat.is_some())
    }

    /// Whether a heartbeat that waited for an ack is to be answered now.
    fn heartbeat_is_due(&self) -> bool {
        let awaits_ack = |it: &Pacing| it.awaits_ack(Instant::now());
        self.heartbeat_waits()
            && (self.stage == Stage::Ended || !self.pacing.as_deref().is_some_and(awaits_ack))
    }

    /// Whether another frame may be written. To a legacy client one frame is written at a time.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, LinkError> {
        let room = if self.pacing.is_some() {
            self.link.poll_flush_unpin(cx)
        } else {
            self.link.poll_ready_unpin(cx)
        };
        match room {
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Writes what the hub has for this connection, as long as there is room.
    fn write_pushes(&mut self, cx: &mut Context<'_>) -> Result<Hub, End> {
        let Some(connection) = self.connection.clone() else {
            return Ok(Hub::Later);
        };
        if self.stage == Stage::Ended {
            if let Some(backlog) = self.backlog.as_mut() {
                backlog.give_up_read();
            }
            return Ok(Hub::Later);
        }
        if let Some(backlog) = self.backlog.as_mut() {
            backlog.poll_read(cx);
        }
        let now = Instant::now();
        if connection.poll_fresh(cx, now).is_pending() {
            // The node stood still: who owns the device is asked before anything is written.
            if let Poll::Ready(reason) = connection.poll_close(cx) {
                return Err(End::Close(Box::new(Close::from(reason))));
            }
            return Ok(Hub::Asked);
        }
        if let Some(backlog) = self.backlog.as_mut()
            && backlog.has_pushes()
            && connection.handle().is_superseded()
        {
            backlog.drop_pushes();
        }
        loop {
            let held = self.pacing.as_ref().is_some_and(|it| it.holds(now));
            if held || self.poll_room(cx)?.is_pending() {
                // Even who cannot be written to must hear that it is over.
                if let Poll::Ready(reason) = connection.poll_close(cx) {
                    return Err(End::Close(Box::new(Close::from(reason))));
                }
                return Ok(Hub::Later);
            }
            if let Some(push) = self
                .backlog
                .as_mut()
                .and_then(|backlog| backlog.next_push())
            {
                self.push(&push)?;
                continue;
            }
            match connection.poll_work(cx, now) {
                Poll::Ready(Work::Deliver(deliveries)) => self.push_all(cx, deliveries)?,
                Poll::Ready(Work::Read) => {
                    let backlog = self.backlog.get_or_insert_default();
                    backlog.read(&connection);
                    if backlog.poll_read(cx) {
                        if let Poll::Ready(reason) = connection.poll_close(cx) {
                            return Err(End::Close(Box::new(Close::from(reason))));
                        }
                        return Ok(Hub::Later);
                    }
                }
                Poll::Ready(Work::Close(reason)) => {
                    return Err(End::Close(Box::new(Close::from(reason))));
                }
                Poll::Pending => return Ok(Hub::Asked),
            }
        }
    }

    /// Writes what there is room for at once; the rest waits.
    fn push_all(
        &mut self,
        cx: &mut Context<'_>,
        mut pushes: VecDeque<Delivery>,
    ) -> Result<(), End> {
        while self.pacing.is_none() && self.poll_room(cx)?.is_ready() {
            let Some(push) = pushes.pop_front() else {
                return Ok(());
            };
            self.push(&push)?;
        }
        self.backlog.get_or_insert_default().push_all(pushes);
        Ok(())
    }

    fn push(&mut self, push: &Delivery) -> Result<(), End> {
        let (seq, envelope) = match push {
            Delivery::Entry { seq, envelope } | Delivery::Live { seq, envelope } => (seq, envelope),
            Delivery::Room(batch) => return self.push_batch(batch),
        };
        let own = self
            .connection
            .as_ref()
            .map(|connection| connection.identity().user);
        let request_id = if envelope.message.sender.user() == own {
            0
        } else {
            envelope.request_id
        };
        let frame = encode::push(envelope, *seq, request_id, self.extended);
        let Some(frame) = frame else {
            gimlet_core::error_rated!(message = %envelope.message.id, "fits no frame; left out");
            return Ok(());
        };
        self.write_acked(frame, *seq)
    }

    fn push_batch(&mut self, batch: &RoomBatch) -> Result<(), End> {
        let frames = batch.frames(self.extended, |item| encode::room_push(item, self.extended));
        let frames_out = &self.shared.stats.frames_out;
        frames_out.fetch_add(frames.len() as u64, Ordering::Relaxed);
        Ok(self.link.put_all(frames)?)
    }

    /// The next packet that can be answered now. Acks, which have no answer, are taken on the way.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Result<Poll<Box<Packet>>, End> {
        let mut acks = 0;
        loop {
            if let Some(packet) = self.packet.take() {
                if self.poll_may_answer(cx, &packet)?.is_pending() {
                    self.packet = Some(packet);
                    return Ok(Poll::Pending);
                }
                return Ok(Poll::Ready(packet));
            }
            if self.stage == Stage::Ended {
                return Ok(Poll::Pending);
            }
            if acks == ACKS {
                cx.waker().wake_by_ref();
                return Ok(Poll::Pending);
            }
            let frame = match self.link.poll_next_unpin(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => {
                    self.stage = Stage::Ended;
                    self.heard = Instant::now();
                    return Ok(Poll::Pending);
                }
            };
            self.shared.stats.frames_in.fetch_add(1, Ordering::Relaxed);
            if self.stage == Stage::Open {
                self.heard = Instant::now();
            }
            match Packet::read(frame) {
                Ok(packet) if packet.package() == Some(PackageType::PtMessage) => {
                    acks += 1;
                    self.ack(&packet);
                }
                Ok(packet) => {
                    self.heard_packet();
                    self.packet = Some(Box::new(packet));
                }
                Err(refusal) => {
                    acks += 1;
                    self.heard_packet();
                    self.unreadable(&refusal)?;
                }
            }
        }
    }

    /// Takes an ack. It is never answered, whatever it is and whoever has signed in: gim's clients
    /// take any answer of this type for a push and crash on one without a message.
    fn ack(&mut self, packet: &Packet) {
        let ack = match packet.request() {
            Ok(Request::Ack(ack)) => ack,
            Ok(_) => return,
            Err(refusal) => {
                tracing::debug!(%refusal, "ack ignored");
                return;
            }
        };
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.heard_ack(ack.device_ack, Instant::now());
        }
        if let Some(connection) = &self.connection
            && let Some(seq) = convert::ack(&ack)
        {
            connection.ack(seq);
        }
    }

    /// Any packet but an ack came in.
    fn heard_packet(&mut self) {
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.heard_packet(Instant::now());
        }
    }

    /// Answers a frame that is no packet; the last of a few closes the connection.
    fn unreadable(&mut self, refusal: &gimlet_core::error::Refusal) -> Result<(), End> {
        self.undecodable += 1;
        self.shared
            .stats
            .undecodable
            .fetch_add(1, Ordering::Relaxed);
        self.shared.stats.refuse(refusal);
        self.write(encode::refusal(PackageType::PtUnknown.into(), 0, refusal))?;
        if self.undecodable >= self.shared.settings.undecodable {
            let text = format!("{} packets could not be read", self.undecodable);
            return Err(End::close(CloseCode::Undecodable, text));
        }
        Ok(())
    }

    /// Sends may be under way together; everything else waits until those before it are answered.
    /// Nothing is answered without room for the answer.
    fn poll_may_answer(&mut self, cx: &mut Context<'_>, packet: &Packet) -> Result<Poll<()>, End> {
        let in_flight = self.backlog_in_flight();
        let most = match packet.package() {
            Some(PackageType::PtSend) => self.shared.settings.in_flight,
            _ => 1,
        };
        if in_flight >= most.max(1) {
            return Ok(Poll::Pending);
        }
        // Answers keep the order of their packets.
        if self.heartbeat_waits() {
            if self.poll_room(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.write_heartbeat()?;
        }
        Ok(self.poll_room(cx)?)
    }

    /// Waits for the next deadline; ready when one has passed and things are to be looked at again.
    fn poll_clock(&mut self, cx: &mut Context<'_>, hub: Hub) -> Result<Poll<()>, End> {
        let now = Instant::now();
        let patience = self.patience(now)?;
        let stuck = self.watch_output(now)?;
        let flushed = self.link.is_flushed();
        let silence = self.shared.settings.ws_silence;
        let alive = if silence.is_zero() {
            None
        } else {
            self.link.keep_alive(silence, now)
        };
        if flushed && !self.link.is_flushed() {
            // Round again: the output is flushed before the clock is looked at.
            return Ok(Poll::Ready(()));
        }
        let work = match (hub, self.connection.as_ref()) {
            (Hub::Asked, Some(connection)) => connection.next_deadline(),
            _ => None,
        };
        let expired = self.pacing.as_mut().is_some_and(|it| it.expire(now));
        if expired && (hub == Hub::Later || self.heartbeat_waits()) {
            // It ended after the pushes were looked at, and its timer may just have been spent: what
            // waits in the hub would not be asked for again.
            return Ok(Poll::Ready(()));
        }
        let send = self.backlog.as_ref().and_then(|it| it.deadline());
        let next = [Some(patience), work, self.pace_until(), send, stuck, alive]
            .into_iter()
            .flatten()
            .min();
        let next = next.unwrap_or(patience);
        // A timer that is early costs one more turn; moving it at each packet costs more.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        Ok(self.timer.as_mut().poll(cx))
    }

    /// When the connection is given up if its client takes nothing of the output that waits.
    fn watch_output(&mut self, now: Instant) -> Result<Option<Instant>, End> {
        if self.link.is_flushed() {
            self.blocked = None;
            return Ok(None);
        }
        let written = self.link.written();
        let blocked = self.blocked.get_or_insert_with(|| {
            let since = now;
            Box::new(Blocked { written, since })
        });
        if blocked.written != written {
            (blocked.written, blocked.since) = (written, now);
        }
        let until = blocked.since + self.shared.settings.stuck;
        if now < until {
            return Ok(Some(until));
        }
        Err(End::close(
            CloseCode::TooSlow,
            "the client takes nothing of what is written to it; read the socket",
        ))
    }

    /// When the connection is given up if nothing comes in.
    fn patience(&self, now: Instant) -> Result<Instant, End> {
        let settings = &self.shared.settings;
        if self.stage == Stage::Ended {
            let until = self.heard + settings.silent;
            return if now < until {
                Ok(until)
            } else {
                Err(End::Gone(None))
            };
        }
        if self.stage == Stage::Silent {
            let until = self.heard + settings.silent;
            return if now < until {
                Ok(until)
            } else {
                let text = "nobody has signed in on this connection; send SIGN_IN first";
                Err(End::close(CloseCode::SignInTooLate, text))
            };
        }
        let idle = settings.idle(self.link.wire());
        let until = self.heard + idle;
        if now < until {
            return Ok(until);
        }
        // An old client takes the end of a superseded connection for its present one's: it stays.
        let superseded = |c: &Arc<_>| gimlet_core::gateway::Connection::handle(c).is_superseded();
        if self.connection.as_ref().is_some_and(superseded) {
            return Ok(now + idle);
        }
        Err(End::close(
            CloseCode::Idle,
            "nothing came in for too long; send heartbeats",
        ))
    }
}
