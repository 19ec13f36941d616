//! The path of events from the connection to the application: a bounded channel, and a queue in
//! front of it. While the queue is not empty the application is slow, and the session reads no more
//! than it must.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::cursor_store::ClientCursor;
use crate::event::ClientEvent;

/// Events in the queue above which messages outside the inbox are dropped, and only the latest
/// change of the connection is kept.
const MAX_QUEUED_BEST_EFFORT: usize = 1_024;

/// An event, and the position of the cursor once it is handled.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) event: Option<ClientEvent>,
    pub(crate) mark: Option<ClientCursor>,
}

/// The sending side of the events.
#[derive(Debug)]
pub(crate) struct EventChannel {
    tx: mpsc::Sender<QueuedEvent>,
    waiting: VecDeque<QueuedEvent>,
    missed: u64,
}

impl EventChannel {
    pub(crate) const fn new(tx: mpsc::Sender<QueuedEvent>) -> Self {
        Self {
            tx,
            waiting: VecDeque::new(),
            missed: 0,
        }
    }

    /// Returns whether the application is behind by more than the channel holds.
    pub(crate) fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Queues an event, or only a mark. The caller bounds how often it does so while full.
    pub(crate) fn put(&mut self, event: Option<ClientEvent>, mark: Option<ClientCursor>) {
        let mut item = QueuedEvent { event, mark };
        // The channel may be used directly only while nothing waits: otherwise events would
        // overtake.
        if self.waiting.is_empty() {
            match self.tx.try_send(item) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(back)) => item = back,
            }
        }
        match self.waiting.back_mut() {
            Some(last) if last.event.is_none() && item.event.is_none() => *last = item,
            _ => self.waiting.push_back(item),
        }
    }

    /// Queues a change of the connection. It is never dropped, but if the application is very slow,
    /// it replaces the changes right before it.
    pub(crate) fn put_change(&mut self, event: ClientEvent, mut mark: Option<ClientCursor>) {
        while self.waiting.len() > MAX_QUEUED_BEST_EFFORT {
            let replaced = self.waiting.pop_back_if(|last| {
                let event = last.event.as_ref();
                event.is_none_or(ClientEvent::is_change)
            });
            let Some(replaced) = replaced else { break };
            // Marks ascend, so the latest one stands for the replaced ones.
            mark = mark.or(replaced.mark);
        }
        self.put(Some(event), mark);
    }

    /// Queues a message that may be dropped if the application is very slow.
    pub(crate) fn put_best_effort(&mut self, event: ClientEvent, mark: Option<ClientCursor>) {
        if self.waiting.len() < MAX_QUEUED_BEST_EFFORT {
            self.put(Some(event), mark);
        } else {
            self.missed = self.missed.saturating_add(1);
        }
    }

    /// Moves the queue into the channel as the application makes room. Dropping the future loses
    /// nothing.
    pub(crate) async fn drain(&mut self) {
        while !self.waiting.is_empty() {
            // The slot is reserved before the item is taken, so that a dropped future cannot lose
            // an item.
            let Ok(permit) = self.tx.reserve().await else {
                self.waiting.clear();
                return;
            };
            if let Some(item) = self.waiting.pop_front() {
                permit.send(item);
            }
        }
        if self.missed > 0 {
            let count = std::mem::take(&mut self.missed);
            self.put(Some(ClientEvent::Missed { count }), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: i64) -> ClientCursor {
        ClientCursor { epoch: 1, seq }
    }

    #[tokio::test]
    async fn order_is_kept_and_bare_marks_fold() {
        let (tx, mut rx) = mpsc::channel(1);
        let mut channel = EventChannel::new(tx);
        channel.put(Some(ClientEvent::CaughtUp { seq: 1 }), Some(mark(1)));
        assert!(!channel.is_full());
        channel.put(None, Some(mark(2)));
        channel.put(None, Some(mark(3)));
        channel.put(Some(ClientEvent::CaughtUp { seq: 4 }), Some(mark(4)));
        assert_eq!(channel.waiting.len(), 2);
        let reader = async {
            let mut seen = Vec::new();
            while seen.len() < 3 {
                seen.push(rx.recv().await.unwrap().mark.unwrap().seq);
            }
            seen
        };
        let ((), seen) = tokio::join!(channel.drain(), reader);
        assert_eq!(seen, [1, 3, 4]);
        assert!(!channel.is_full());
    }

    fn live() -> ClientEvent {
        crate::event::event(
            gimlet_proto::pb::Message::default(),
            &crate::options::DeviceCredentials {
                user_id: 1,
                device_id: 1,
                token: String::new(),
            },
        )
    }

    fn full(tx: mpsc::Sender<QueuedEvent>) -> EventChannel {
        let mut channel = EventChannel::new(tx);
        channel.waiting.push_back(QueuedEvent {
            event: None,
            mark: Some(mark(1)),
        });
        for _ in 0..MAX_QUEUED_BEST_EFFORT + 5 {
            channel.put_best_effort(live(), None);
        }
        channel
    }

    #[tokio::test]
    async fn dropped_events_are_counted_and_reported() {
        let (tx, mut rx) = mpsc::channel(2_000);
        full(tx).drain().await;
        let mut last = None;
        while let Ok(item) = rx.try_recv() {
            last = item.event;
        }
        assert!(matches!(last, Some(ClientEvent::Missed { count: 6 })));
    }

    /// `Connected`, `CaughtUp` and `Disconnected` were dropped and counted as messages.
    #[tokio::test]
    async fn the_latest_change_of_the_connection_is_never_dropped() {
        let (tx, mut rx) = mpsc::channel(2_000);
        let mut channel = full(tx);
        for n in 1..=5_000 {
            let connected = ClientEvent::Connected { epoch: 1, head: n };
            channel.put_change(connected, Some(mark(n)));
            channel.put(None, Some(mark(n)));
            channel.put_change(ClientEvent::CaughtUp { seq: n }, None);
        }
        assert!(channel.waiting.len() <= MAX_QUEUED_BEST_EFFORT + 3);
        channel.drain().await;
        let (mut caught_up, mut missed, mut last) = (Vec::new(), 0, None);
        while let Ok(item) = rx.try_recv() {
            match item.event {
                Some(ClientEvent::CaughtUp { seq }) => caught_up.push(seq),
                Some(ClientEvent::Missed { count }) => missed += count,
                _ => {}
            }
            last = item.mark.or(last);
        }
        assert_eq!(caught_up.last(), Some(&5_000));
        assert_eq!((missed, last), (6, Some(mark(5_000))));
    }
}
