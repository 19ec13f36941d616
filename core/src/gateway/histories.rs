//! Reads the kept messages of rooms for the connections of this node.
//!
//! A popular room has thousands of subscribers that want the same pages at the same time. Each page
//! is therefore read once for all connections that wait for it, a page is bounded in bytes, and
//! only a few reads run at a time. However large a room is and however many subscribers it has, the
//! store has time for other work.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::error::ErrorChain;
use crate::hub::ConnectionHandle;
use crate::id::{ConnId, RoomId};
use crate::page::PageLimit;
use crate::store::RoomStore;

/// Maximum number of reads at a time, over all rooms of the node. A read of one page occupies Redis
/// for about a millisecond; four keep it busy without a queue in front of other calls.
const HISTORY_READ_CONCURRENCY: usize = 4;

/// Half of a connection's default outbox, so that a page always fits an empty outbox.
const HISTORY_PAGE_LIMIT: PageLimit = PageLimit {
    items: 100,
    bytes: 128 * 1024,
};

/// Connections that wait for a page of one room, by connection. A connection that subscribes again
/// replaces its previous request.
type RoomRequests = HashMap<ConnId, HistoryRequest>;

/// A connection's request for the next page of its room.
#[derive(Debug)]
struct HistoryRequest {
    handle: Arc<ConnectionHandle>,
    /// Number that distinguishes this request from earlier ones of the same connection.
    request_id: u64,
}

/// The reads of room histories on this node.
#[derive(Debug)]
pub(super) struct RoomHistories {
    store: Arc<dyn RoomStore>,
    tracker: TaskTracker,
    permits: Semaphore,
    next_request_id: AtomicU64,
    /// Requests by room; a room is present while a task reads for it.
    rooms: Mutex<HashMap<RoomId, RoomRequests>>,
}

impl RoomHistories {
    pub(super) fn new(store: Arc<dyn RoomStore>, tracker: TaskTracker) -> Self {
        Self {
            store,
            tracker,
            permits: Semaphore::new(HISTORY_READ_CONCURRENCY),
            next_request_id: AtomicU64::new(1),
            rooms: Mutex::default(),
        }
    }

    /// Requests the next page for this connection if it needs one. Does not wait: the page is
    /// queued at the connection when it was read.
    pub(super) fn request(self: &Arc<Self>, handle: &Arc<ConnectionHandle>) {
        let request_id = self.next_request_id.fetch_add(1, Ordering::Relaxed);
        let Some(room) = handle.request_history(request_id) else {
            return;
        };
        let request = HistoryRequest {
            handle: Arc::clone(handle),
            request_id,
        };
        let conn = handle.identity().conn;
        match self.lock().entry(room) {
            Entry::Occupied(waiting) => {
                waiting.into_mut().insert(conn, request);
            }
            Entry::Vacant(free) => {
                free.insert(RoomRequests::from([(conn, request)]));
                self.tracker.spawn(Arc::clone(self).run(room));
            }
        }
    }

    /// Serves the room's requests in rounds until none is left. Requests that arrive during a round
    /// wait for the next one, so no request starves.
    async fn run(self: Arc<Self>, room: RoomId) {
        loop {
            let requests = {
                let mut rooms = self.lock();
                let Some(waiting) = rooms.get_mut(&room).filter(|it| !it.is_empty()) else {
                    rooms.remove(&room);
                    return;
                };
                std::mem::take(waiting)
            };
            self.serve(room, requests.into_values().collect()).await;
        }
    }

    /// Reads page after page, each from the lowest seq still needed, until every request is served
    /// or a read fails.
    async fn serve(&self, room: RoomId, mut requests: Vec<HistoryRequest>) {
        loop {
            let wanted = requests.iter();
            // From the lowest seq, so that the page does not begin after any request's place.
            let wanted = wanted.filter_map(|it| it.handle.requested_from(room, it.request_id));
            let Some(from) = wanted.min() else { return };
            let read = {
                let _permit = self.permits.acquire().await;
                self.store.history(room, from, HISTORY_PAGE_LIMIT).await
            };
            let before = requests.len();
            match &read {
                Ok(history) => {
                    requests.retain(|it| !it.handle.fill_room(room, it.request_id, history));
                }
                Err(error) => {
                    tracing::debug!(error = %ErrorChain(error), %room, "room history not read");
                }
            }
            // All requests fail together: a retry of each one alone would fail in the same way.
            if requests.len() == before {
                for it in &requests {
                    it.handle.history_failed(room, it.request_id);
                }
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, RoomRequests>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
