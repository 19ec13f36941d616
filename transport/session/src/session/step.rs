//! Polls everything that a connection waits for, in a fixed order.
//!
//! The order is: answers to sends, pushes, the next packet, the socket's output, the clock. Each
//! step says why it comes where it does. Output is flushed only when no more input can be read
//! without waiting, so that the answers to many packets leave in one write.

use std::collections::VecDeque;
use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::{SinkExt as _, StreamExt as _};
use gimlet_core::delivery::ConnectionDelivery;
use gimlet_core::envelope::Envelope;
use gimlet_core::hub::ConnectionWork;
use gimlet_core::room_batch::RoomBatch;
use gimlet_core::seq::Seq;
use gimlet_core::trace;
use gimlet_proto::pb::{CloseCode, PackageType};
use tokio::time::Instant;

use super::{ConnectionSession, FramePacing, SessionEnd, SessionPhase, SessionStep, StalledOutput};
use crate::close::ConnectionClose;
use crate::codec::{self, UnreadableFrame};
use crate::convert;
use crate::dispatch::{ClientPacket, ClientRequest};
use crate::link::{FrameLink, LinkError};

/// Packets handled before their answers are flushed.
const PACKETS_PER_FLUSH: u8 = 32;

/// Acks handled in a row before the task yields to others.
const MAX_ACKS_IN_A_ROW: usize = 64;

/// Outcome of polling the hub.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HubPoll {
    /// The hub had nothing more: it will wake the task, and its deadlines apply.
    Polled,
    /// The hub was not polled to the end: something else has to happen first.
    Deferred,
}

impl<L: FrameLink> ConnectionSession<'_, L> {
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<SessionStep> {
        loop {
            let step = self.poll_once(cx);
            match step {
                Ok(Poll::Ready(Some(packet))) => return Poll::Ready(SessionStep::Packet(packet)),
                // A deadline has passed or an ack has arrived: poll everything again.
                Ok(Poll::Ready(None)) => {}
                Ok(Poll::Pending) => return Poll::Pending,
                Err(end) => return Poll::Ready(end.into()),
            }
        }
    }

    /// Runs the steps once; ready with a packet to answer, or with `None` to run them again. Every
    /// step that stays pending has registered the waker, except where `poll_clock` must set a
    /// timer.
    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Poll<Option<Box<ClientPacket>>>, SessionEnd> {
        // 1. The stop, for a connection that has not signed in: the hub does not know it, so
        // nothing else would close it.
        if let Some(stop) = self.stop.as_mut()
            && stop.as_mut().poll(cx).is_ready()
        {
            return Err(SessionEnd::close(
                CloseCode::ShuttingDown,
                "the server is shutting down",
            ));
        }
        // 2. Answers before pushes. An extension client advances its cursor by the answer to its
        // own send; an entry with a higher seq that came first would look like a gap to it.
        self.write_answers(cx)?;
        if self.heartbeat_is_due() && self.poll_room(cx)?.is_ready() {
            self.write_heartbeat()?;
        }
        // 3. Pushes before the next packet, so that a client that sends without pause still gets
        // its pushes.
        let hub = self.write_pushes(cx)?;
        // 4. The next packet, unless `PACKETS_PER_FLUSH` packets have been handled since the last
        // flush: their answers have to leave first.
        let held = self.pace_until().is_some();
        if self.unflushed < PACKETS_PER_FLUSH
            && let Poll::Ready(packet) = self.poll_packet(cx)?
        {
            self.unflushed += 1;
            return Ok(Poll::Ready(Some(packet)));
        }
        if held && self.pace_until().is_none() {
            // An ack that arrived in step 4 allows a legacy client its next frame, but step 3 is
            // over: run again, or that frame would wait for the next wake-up.
            return Ok(Poll::Ready(None));
        }
        // 5. Output, once no more packets can be read without waiting.
        if !self.link.is_flushed() {
            // Ready or pending: the socket wakes the task when it can continue.
            if let Poll::Ready(Err(error)) = self.link.poll_flush_unpin(cx) {
                return Err(error.into());
            }
        }
        // 6. After `PACKETS_PER_FLUSH` packets, yield to other tasks; the waker schedules this one
        // again.
        if self.unflushed >= PACKETS_PER_FLUSH {
            self.unflushed = 0;
            cx.waker().wake_by_ref();
            return Ok(Poll::Pending);
        }
        self.unflushed = 0;
        // 7. The client has ended its side: end when everything it asked for is answered and
        // flushed.
        if self.phase == SessionPhase::Ended
            && self.packet.is_none()
            && self.backlog_in_flight() == 0
            && !self.heartbeat_is_due()
            && self.link.is_flushed()
        {
            return Err(SessionEnd::Gone(None));
        }
        // 8. An idle connection keeps no queues and no buffers.
        if self
            .backlog
            .as_ref()
            .is_some_and(|backlog| backlog.is_empty())
        {
            self.backlog = None;
            self.link.release_buffers();
        }
        // 9. The clock last: the steps before it change the deadlines.
        Ok(self.poll_clock(cx, hub)?.map(|()| None))
    }

    /// Writes the answers to sends, in the order of their packets. Sends are polled even while
    /// there is no space for an answer, so that a client that does not read does not delay their
    /// storage.
    fn write_answers(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
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

    /// Returns whether a heartbeat answer that waited for an ack is due.
    fn heartbeat_is_due(&self) -> bool {
        let awaits_ack = |it: &FramePacing| it.awaits_ack(Instant::now());
        self.heartbeat_waits()
            && (self.phase == SessionPhase::Ended
                || !self.pacing.as_deref().is_some_and(awaits_ack))
    }

    /// Waits until another frame may be written. A legacy client gets one frame at a time.
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

    /// Writes the pushes that the hub has for this connection, while there is space for them.
    fn write_pushes(&mut self, cx: &mut Context<'_>) -> Result<HubPoll, SessionEnd> {
        let Some(connection) = self.connection.clone() else {
            return Ok(HubPoll::Deferred);
        };
        if self.phase == SessionPhase::Ended {
            if let Some(backlog) = self.backlog.as_mut() {
                backlog.give_up_read();
            }
            return Ok(HubPoll::Deferred);
        }
        // A running read of the inbox fills the hub's queue, so it is polled before the hub.
        if let Some(backlog) = self.backlog.as_mut() {
            backlog.poll_read(cx);
        }
        let now = Instant::now();
        if connection.poll_current(cx, now).is_pending() {
            // The process was paused, and the device may have signed in elsewhere meanwhile:
            // nothing is written before the connection's lease is verified. Only a close is polled
            // for.
            if let Poll::Ready(reason) = connection.poll_close(cx) {
                return Err(SessionEnd::Close(Box::new(ConnectionClose::from(reason))));
            }
            return Ok(HubPoll::Polled);
        }
        // Pushes that were taken from the hub earlier are not written once another connection has
        // the device.
        if let Some(backlog) = self.backlog.as_mut()
            && backlog.has_pushes()
            && connection.handle().is_superseded()
        {
            backlog.drop_pushes();
        }
        loop {
            let held = self.pacing.as_ref().is_some_and(|it| it.holds(now));
            if held || self.poll_room(cx)?.is_pending() {
                // A close must be noticed even when no push can be written.
                if let Poll::Ready(reason) = connection.poll_close(cx) {
                    return Err(SessionEnd::Close(Box::new(ConnectionClose::from(reason))));
                }
                return Ok(HubPoll::Deferred);
            }
            // Pushes taken from the hub earlier come first: they have the lower seqs.
            if let Some(push) = self
                .backlog
                .as_mut()
                .and_then(|backlog| backlog.next_push())
            {
                self.push(&push)?;
                continue;
            }
            match connection.poll_work(cx, now) {
                Poll::Ready(ConnectionWork::Deliver(deliveries)) => {
                    self.push_all(cx, deliveries)?;
                }
                Poll::Ready(ConnectionWork::Read) => {
                    let backlog = self.backlog.get_or_insert_default();
                    // Polled at once: otherwise the read would not register its waker.
                    backlog.read(&connection);
                    if backlog.poll_read(cx) {
                        if let Poll::Ready(reason) = connection.poll_close(cx) {
                            return Err(SessionEnd::Close(Box::new(ConnectionClose::from(reason))));
                        }
                        return Ok(HubPoll::Deferred);
                    }
                }
                Poll::Ready(ConnectionWork::Close(reason)) => {
                    return Err(SessionEnd::Close(Box::new(ConnectionClose::from(reason))));
                }
                Poll::Pending => return Ok(HubPoll::Polled),
            }
        }
    }

    /// Writes as many pushes as there is space for; the others stay in the backlog, in order.
    fn push_all(
        &mut self,
        cx: &mut Context<'_>,
        mut pushes: VecDeque<ConnectionDelivery>,
    ) -> Result<(), SessionEnd> {
        while self.pacing.is_none() && self.poll_room(cx)?.is_ready() {
            let Some(push) = pushes.pop_front() else {
                return Ok(());
            };
            self.push(&push)?;
        }
        self.backlog.get_or_insert_default().push_all(pushes);
        Ok(())
    }

    fn push(&mut self, push: &ConnectionDelivery) -> Result<(), SessionEnd> {
        let (seq, envelope) = match push {
            ConnectionDelivery::Entry { seq, envelope }
            | ConnectionDelivery::Live { seq, envelope } => (seq, envelope),
            ConnectionDelivery::Room(batch) => return self.push_batch(batch),
        };
        trace::push(&envelope.message, *seq, || self.write_push(envelope, *seq))
    }

    fn write_push(&mut self, envelope: &Envelope, seq: Seq) -> Result<(), SessionEnd> {
        let own = self
            .connection
            .as_ref()
            .map(|connection| connection.identity().user);
        let request_id = if envelope.message.sender.user() == own {
            0
        } else {
            envelope.request_id
        };
        let frame = codec::push(self.form(), envelope, seq, request_id);
        let Some(frame) = frame else {
            gimlet_core::error_rated!(
                message = %envelope.message.id,
                "message exceeds the frame limit, skipped"
            );
            return Ok(());
        };
        self.write_acked(frame, seq)
    }

    fn push_batch(&mut self, batch: &RoomBatch) -> Result<(), SessionEnd> {
        let form = self.form();
        let frames = batch.frames(form, |item| codec::room_push(form, item));
        let frames_out = &self.shared.stats.frames_out;
        frames_out.fetch_add(frames.len() as u64, Ordering::Relaxed);
        let items = batch.items().iter();
        trace::note_pushes(items.map(|item| (&*item.envelope.message, item.seq)));
        Ok(self.link.put_all(frames)?)
    }

    /// Returns the next packet that can be answered now. Acks, which have no answer, are handled
    /// here.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Result<Poll<Box<ClientPacket>>, SessionEnd> {
        let mut acks = 0;
        loop {
            // A packet that may not be answered yet blocks reading: TCP then slows down the client.
            if let Some(packet) = self.packet.take() {
                if self.poll_may_answer(cx, &packet)?.is_pending() {
                    self.packet = Some(packet);
                    return Ok(Poll::Pending);
                }
                return Ok(Poll::Ready(packet));
            }
            if self.phase == SessionPhase::Ended {
                return Ok(Poll::Pending);
            }
            // While the client is throttled, not even acks are read: they arrive behind the excess
            // packets.
            if let Some(throttle) = self.throttle.as_mut()
                && throttle.delays(Instant::now())
            {
                return Ok(Poll::Pending);
            }
            // Acks do not end this loop, so a stream of them has to yield here.
            if acks == MAX_ACKS_IN_A_ROW {
                cx.waker().wake_by_ref();
                return Ok(Poll::Pending);
            }
            let frame = match self.link.poll_next_unpin(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => {
                    self.phase = SessionPhase::Ended;
                    self.last_activity = Instant::now();
                    return Ok(Poll::Pending);
                }
            };
            self.shared.stats.frames_in.fetch_add(1, Ordering::Relaxed);
            if self.phase == SessionPhase::Open {
                self.last_activity = Instant::now();
            }
            match codec::read(self.link.codec(), frame) {
                Ok(packet) if packet.package() == Some(PackageType::PtMessage) => {
                    acks += 1;
                    self.ack(packet);
                }
                Ok(packet) => {
                    self.record_packet();
                    self.packet = Some(Box::new(packet));
                }
                Err(unreadable) => {
                    acks += 1;
                    self.record_packet();
                    self.unreadable(&unreadable)?;
                }
            }
        }
    }

    /// Handles an ack. It is never answered, whether it is valid or not and before sign-in as well:
    /// gim's clients take any answer of this type for a push and crash on one without a message.
    fn ack(&mut self, packet: ClientPacket) {
        let ack = match packet.into_request() {
            Ok(ClientRequest::Ack(ack)) => ack,
            Ok(_) => return,
            Err(refusal) => {
                tracing::debug!(%refusal, "ack ignored");
                return;
            }
        };
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.record_ack(ack.device_ack, Instant::now());
        }
        if let Some(connection) = &self.connection
            && let Some(seq) = convert::ack(&ack)
        {
            connection.ack(seq);
        }
    }

    /// Tells the pacing that a packet other than an ack arrived.
    fn record_packet(&mut self) {
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.record_packet(Instant::now());
        }
    }

    /// Answers a frame that is not a packet; the last one allowed closes the connection.
    fn unreadable(&mut self, frame: &UnreadableFrame) -> Result<(), SessionEnd> {
        let UnreadableFrame {
            refusal,
            request_id,
        } = frame;
        self.undecodable += 1;
        self.shared
            .stats
            .undecodable
            .fetch_add(1, Ordering::Relaxed);
        self.shared.stats.refuse(refusal);
        let kind = PackageType::PtUnknown.into();
        self.write(codec::refusal(self.form(), kind, *request_id, refusal))?;
        if self.undecodable >= self.shared.settings.undecodable {
            let text = format!("{} packets could not be read", self.undecodable);
            return Err(SessionEnd::close(CloseCode::Undecodable, text));
        }
        Ok(())
    }

    fn is_throttled(&self) -> bool {
        self.throttle.as_ref().is_some_and(|it| it.is_active())
    }

    /// Waits until a packet may be answered. Sends run concurrently up to a limit; any other packet
    /// waits until all earlier ones are answered. An answer needs space in the output.
    fn poll_may_answer(
        &mut self,
        cx: &mut Context<'_>,
        packet: &ClientPacket,
    ) -> Result<Poll<()>, SessionEnd> {
        let in_flight = self.backlog_in_flight();
        let max = match packet.package() {
            Some(PackageType::PtSend) if !self.is_throttled() => self.shared.settings.in_flight,
            _ => 1,
        };
        if in_flight >= max.max(1) {
            return Ok(Poll::Pending);
        }
        // A delayed heartbeat answer goes first: answers keep the order of their packets.
        if self.heartbeat_waits() {
            if self.poll_room(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.write_heartbeat()?;
        }
        Ok(self.poll_room(cx)?)
    }

    /// Waits for the next deadline; ready when one has passed and everything must be polled again.
    fn poll_clock(&mut self, cx: &mut Context<'_>, hub: HubPoll) -> Result<Poll<()>, SessionEnd> {
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
            // A ping was queued: run again, because output is flushed before the clock is polled.
            return Ok(Poll::Ready(()));
        }
        // Only if the hub was polled: otherwise its deadline may have passed already, and the timer
        // would fire again and again without any progress.
        let work = match (hub, self.connection.as_ref()) {
            (HubPoll::Polled, Some(connection)) => connection.next_deadline(),
            _ => None,
        };
        let expired = self.pacing.as_mut().is_some_and(|it| it.expire(now));
        if expired && (hub == HubPoll::Deferred || self.heartbeat_waits()) {
            // The pacing ended after the pushes were polled, and its timer may have fired already:
            // nothing else would cause the waiting frames to be polled.
            return Ok(Poll::Ready(()));
        }
        let send = self.backlog.as_ref().and_then(|it| it.deadline());
        let read = self.throttle.as_ref().and_then(|it| it.until());
        let next = [
            Some(patience),
            work,
            self.pace_until(),
            send,
            stuck,
            alive,
            read,
        ]
        .into_iter()
        .flatten()
        .min();
        let next = next.unwrap_or(patience);
        // A timer that fires early costs one more run; moving it at each packet costs more.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        Ok(self.timer.as_mut().poll(cx))
    }

    /// Returns the time at which the connection is closed if the client reads none of its pending
    /// output.
    fn watch_output(&mut self, now: Instant) -> Result<Option<Instant>, SessionEnd> {
        if self.link.is_flushed() {
            self.blocked = None;
            return Ok(None);
        }
        let written = self.link.written();
        let blocked = self.blocked.get_or_insert_with(|| {
            let since = now;
            Box::new(StalledOutput { written, since })
        });
        if blocked.written != written {
            (blocked.written, blocked.since) = (written, now);
        }
        let until = blocked.since + self.shared.settings.stuck;
        if now < until {
            return Ok(Some(until));
        }
        Err(SessionEnd::close(
            CloseCode::TooSlow,
            "the client does not read its pending output; read the socket",
        ))
    }

    /// Returns the time at which the connection is closed if no input arrives.
    fn patience(&self, now: Instant) -> Result<Instant, SessionEnd> {
        let settings = &self.shared.settings;
        if self.phase == SessionPhase::Ended {
            let until = self.last_activity + settings.silent_before_sign_in;
            return if now < until {
                Ok(until)
            } else {
                Err(SessionEnd::Gone(None))
            };
        }
        if self.phase == SessionPhase::AwaitingSignIn {
            let until = self.last_activity + settings.silent_before_sign_in;
            return if now < until {
                Ok(until)
            } else {
                let text = "this connection is not signed in; send SIGN_IN first";
                Err(SessionEnd::close(CloseCode::SignInTooLate, text))
            };
        }
        let idle = settings.idle(self.link.wire());
        let until = self.last_activity + idle;
        if now < until {
            return Ok(until);
        }
        // A superseded connection stays open: a legacy client would take its close for the close of
        // the current one.
        let superseded =
            |c: &Arc<_>| gimlet_core::gateway::ClientConnection::handle(c).is_superseded();
        if self.connection.as_ref().is_some_and(superseded) {
            return Ok(now + idle);
        }
        Err(SessionEnd::close(
            CloseCode::Idle,
            "no packet arrived within the idle limit; send heartbeats",
        ))
    }
}
