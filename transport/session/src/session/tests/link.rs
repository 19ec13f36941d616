//! A link in memory, with the client at its other end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use gimlet_proto::pb;
use prost::Message as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::link::{FrameCodec, FrameLink, LinkError, WireKind};

/// Pending bytes at which the link takes no more frames.
const PENDING: usize = 64 * 1024;

#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one link"
)]
#[derive(Default)]
struct LinkState {
    to_server: VecDeque<Result<Bytes, LinkError>>,
    ended: bool,
    /// Frames that the server has written but not flushed.
    pending: Vec<Bytes>,
    /// Writes that reached the client, with the frames of each.
    writes: VecDeque<Vec<Bytes>>,
    /// True if the client has stopped reading.
    stopped_reading: bool,
    /// Pings that the session asked for.
    signs_of_life: usize,
    ping_at: Option<Instant>,
    /// Frames that the client has taken.
    written: u32,
    aborted: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    close: Option<(u16, String)>,
    closed: bool,
}

#[derive(Default)]
struct SharedLink {
    state: Mutex<LinkState>,
    changed: Notify,
}

impl SharedLink {
    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap()
    }
}

pub(super) struct MemoryLink {
    shared: Arc<SharedLink>,
    wire: WireKind,
    codec: FrameCodec,
}

/// The client's end.
pub(super) struct LinkClient {
    shared: Arc<SharedLink>,
    next_id: i64,
    unread: VecDeque<Bytes>,
}

pub(super) fn link(wire: WireKind, codec: FrameCodec) -> (MemoryLink, LinkClient) {
    let shared = Arc::new(SharedLink::default());
    let link = MemoryLink {
        shared: Arc::clone(&shared),
        wire,
        codec,
    };
    let client = LinkClient {
        shared,
        next_id: 1,
        unread: VecDeque::new(),
    };
    (link, client)
}

impl Stream for MemoryLink {
    type Item = Result<Bytes, LinkError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.shared.lock();
        match state.to_server.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if state.ended => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Bytes> for MemoryLink {
    type Error = LinkError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let pending: usize = self.shared.lock().pending.iter().map(Bytes::len).sum();
        if pending < PENDING {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    fn start_send(self: Pin<&mut Self>, frame: Bytes) -> Result<(), LinkError> {
        self.shared.lock().pending.push(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut state = self.shared.lock();
        if state.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if state.stopped_reading {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let write = std::mem::take(&mut state.pending);
        state.written += u32::try_from(write.len()).unwrap();
        state.writes.push_back(write);
        drop(state);
        self.shared.changed.notify_one();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        std::task::ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }
}

impl FrameLink for MemoryLink {
    fn wire(&self) -> WireKind {
        self.wire
    }

    fn codec(&self) -> FrameCodec {
        self.codec
    }

    fn put_all(&mut self, frames: &[Bytes]) -> Result<(), LinkError> {
        self.shared.lock().pending.extend_from_slice(frames);
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        self.shared.lock().pending.is_empty()
    }

    fn release_buffers(&mut self) {}

    fn written(&self) -> u32 {
        self.shared.lock().written
    }

    fn keep_alive(&mut self, silence: Duration, now: Instant) -> Option<Instant> {
        if self.wire == WireKind::Tcp {
            return None;
        }
        let mut state = self.shared.lock();
        let due = *state.ping_at.get_or_insert(now + silence);
        if now >= due {
            state.signs_of_life += 1;
            state.ping_at = Some(now + silence);
        }
        state.ping_at
    }

    fn abort(&mut self) {
        self.shared.lock().aborted = true;
    }

    fn set_close(&mut self, code: u16, reason: &str) {
        self.shared.lock().close = Some((code, reason.to_owned()));
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl LinkClient {
    fn change(&self, change: impl FnOnce(&mut LinkState)) {
        let mut state = self.shared.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn frame(&self, frame: impl Into<Bytes>) {
        let frame = frame.into();
        self.change(|state| state.to_server.push_back(Ok(frame)));
    }

    pub(super) fn fail(&self, error: LinkError) {
        self.change(|state| state.to_server.push_back(Err(error)));
    }

    /// Sends a packet; returns its request id.
    pub(super) fn send(&mut self, kind: i32, data: &impl prost::Message) -> i64 {
        let request_id = self.next_id;
        self.next_id += 1;
        let input = pb::Input {
            r#type: kind,
            request_id,
            data: data.encode_to_vec().into(),
        };
        self.frame(input.encode_to_vec());
        request_id
    }

    pub(super) fn hang_up(&self) {
        self.change(|state| state.ended = true);
    }

    pub(super) fn stop_reading(&self) {
        self.change(|state| state.stopped_reading = true);
    }

    pub(super) fn read_again(&self) {
        self.change(|state| state.stopped_reading = false);
    }

    /// Returns whether the server has discarded its pending output.
    pub(super) fn is_aborted(&self) -> bool {
        self.shared.lock().aborted
    }

    /// Takes exactly one pending frame.
    pub(super) fn take_one(&self) {
        let mut state = self.shared.lock();
        state.pending.remove(0);
        state.written += 1;
    }

    pub(super) fn signs_of_life(&self) -> usize {
        self.shared.lock().signs_of_life
    }

    /// Returns the number of packets that the server has not read.
    pub(super) fn untaken(&self) -> usize {
        self.shared.lock().to_server.len()
    }

    /// Returns the bytes that the server holds for this client.
    pub(super) fn held(&self) -> usize {
        self.shared.lock().pending.iter().map(Bytes::len).sum()
    }

    /// Returns the frames of the next write; `None` when the connection is closed.
    pub(super) async fn write(&mut self) -> Option<Vec<Bytes>> {
        loop {
            {
                let mut state = self.shared.lock();
                if let Some(write) = state.writes.pop_front() {
                    return Some(write);
                }
                if state.closed {
                    return None;
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// Returns the next frame; `None` when the connection is closed.
    pub(super) async fn next_frame(&mut self) -> Option<Bytes> {
        while self.unread.is_empty() {
            let write = self.write().await?;
            self.unread.extend(write);
        }
        self.unread.pop_front()
    }

    pub(super) async fn next(&mut self) -> Option<pb::Output> {
        let frame = self.next_frame().await?;
        Some(pb::Output::decode(frame).unwrap())
    }

    /// Returns the close frame of the wire.
    pub(super) fn close_frame(&self) -> Option<(u16, String)> {
        self.shared.lock().close.clone()
    }

    pub(super) async fn output(&mut self) -> pb::Output {
        self.next().await.expect("the connection is open")
    }

    /// Waits until the server has closed; returns the remaining outputs and the close frame.
    pub(super) async fn closed(&mut self) -> (Vec<pb::Output>, Option<(u16, String)>) {
        let mut outputs = Vec::new();
        while let Some(output) = self.next().await {
            outputs.push(output);
        }
        (outputs, self.close_frame())
    }
}
