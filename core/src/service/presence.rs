//! Presence: reports to hooks that users come online and go offline.
//!
//! A user is watched from a sign-in that this node has granted. Its routes are read from time to
//! time, so the watch sees connections of all nodes and needs no message from any of them, also
//! when a connect node dies. It is best effort: a restart forgets who is watched, and a user who
//! signs in through two logic nodes may be reported by both.
//!
//! | seen | reported |
//! |---|---|
//! | a route [`ONLINE_DELAY`] after the sign-in | `user.online` |
//! | no route then | nothing: the connection was too short |
//! | no route, and none [`OFFLINE_DELAY`] later | `user.offline`; the watch ends |

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::ErrorChain;
use crate::events::{EventBody, EventKind, EventSubscriptions, NewEvent};
use crate::id::UserId;
use crate::map::FastHashMap;
use crate::store::RouteStore;
use crate::time::TimeSource;

use super::event_writer::EventWriter;

/// Time after a sign-in at which its route is looked for.
const ONLINE_DELAY: Duration = Duration::from_secs(3);
/// Time for which a user must have no route. A client that reconnects meanwhile is not reported.
const OFFLINE_DELAY: Duration = Duration::from_secs(10);
/// Interval at which the routes of a user are read.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);
/// Pause after a failure of the store.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Timeout of a read of routes.
const ROUTES_TIMEOUT: Duration = Duration::from_secs(2);
/// Users whose routes are read in one call.
const USERS_PER_READ: usize = 500;
/// Largest number of users that are watched; further ones are not reported.
const MAX_WATCHED_USERS: usize = 1_000_000;

/// Watches users for hooks that want to know who is online.
#[derive(Debug)]
pub(super) struct PresenceWatch {
    routes: Arc<dyn RouteStore>,
    events: EventSubscriptions,
    writer: EventWriter,
    clock: Arc<dyn TimeSource>,
    watched: Mutex<WatchList>,
    /// Notified when a check becomes due earlier than all others.
    earlier: Notify,
}

/// The watched users.
#[derive(Debug, Default)]
struct WatchList {
    users: FastHashMap<UserId, WatchedUser>,
    /// The times of the next checks.
    due: BTreeSet<(Instant, UserId)>,
}

/// A user that is watched.
#[derive(Clone, Copy, Debug)]
struct WatchedUser {
    /// Time of the next check.
    due: Instant,
    /// Set after `user.online` was reported.
    online: bool,
    /// Time of the first check of a row that found no route.
    absent_since: Option<Instant>,
}

/// Consequence of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PresenceChange {
    Unchanged,
    Online,
    Offline,
}

impl PresenceWatch {
    /// Makes a watch; `None` if no hook wants to know who is online.
    pub(super) fn new(
        routes: &Arc<dyn RouteStore>,
        events: &EventSubscriptions,
        writer: &EventWriter,
        clock: &Arc<dyn TimeSource>,
    ) -> Option<Arc<Self>> {
        let kinds = [EventKind::UserOnline, EventKind::UserOffline];
        if kinds.iter().all(|kind| events.of(*kind).is_empty()) {
            return None;
        }
        Some(Arc::new(Self {
            routes: Arc::clone(routes),
            events: events.clone(),
            writer: writer.clone(),
            clock: Arc::clone(clock),
            watched: Mutex::default(),
            earlier: Notify::new(),
        }))
    }

    /// Notes a sign-in of the user.
    pub(super) fn note_sign_in(&self, user: UserId) {
        let due = Instant::now() + ONLINE_DELAY;
        let mut watched = self.lock();
        if let Some(state) = watched.users.get_mut(&user) {
            // The connection has no route yet: a check that comes before it must neither end the
            // watch nor report the user as offline.
            if !state.online || state.absent_since.is_some() {
                state.absent_since = None;
                watched.check_at(user, due);
            }
            return;
        }
        if watched.users.len() >= MAX_WATCHED_USERS {
            crate::error_rated!("user not watched for presence: too many users are watched");
            return;
        }
        let state = WatchedUser {
            due,
            online: false,
            absent_since: None,
        };
        watched.users.insert(user, state);
        watched.due.insert((due, user));
        let is_first = watched.due.first() == Some(&(due, user));
        drop(watched);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Runs until the token is cancelled.
    pub(super) async fn run(self: Arc<Self>, token: CancellationToken) {
        let running = async {
            loop {
                let next = self.lock().due.first().map(|(due, _)| *due);
                match next {
                    None => self.earlier.notified().await,
                    Some(due) => {
                        tokio::select! {
                            () = sleep_until(due) => self.check_due().await,
                            () = self.earlier.notified() => {}
                        }
                    }
                }
            }
        };
        token.run_until_cancelled(running).await;
    }

    /// Checks the users whose time has come, up to one read of routes.
    async fn check_due(&self) {
        let now = Instant::now();
        let users: Vec<UserId> = {
            let watched = self.lock();
            let due = watched.due.iter().take_while(|(due, _)| *due <= now);
            due.take(USERS_PER_READ).map(|(_, user)| *user).collect()
        };
        let read = timeout(ROUTES_TIMEOUT, self.routes.of(&users)).await;
        let routes = match read {
            Ok(Ok(routes)) => routes,
            failed => {
                if let Ok(Err(error)) = failed {
                    let error = ErrorChain(&error);
                    tracing::debug!(%error, "routes not read for presence, retrying");
                }
                let mut watched = self.lock();
                for user in users {
                    watched.check_at(user, now + RETRY_INTERVAL);
                }
                return;
            }
        };
        let mut present: Vec<UserId> = routes.iter().map(|route| route.user).collect();
        present.sort_unstable();
        for user in users {
            let here = present.binary_search(&user).is_ok();
            let change = self.lock().checked(user, here, now);
            self.report(user, change);
        }
    }

    fn report(&self, user: UserId, change: PresenceChange) {
        let (kind, body) = match change {
            PresenceChange::Unchanged => return,
            PresenceChange::Online => (EventKind::UserOnline, EventBody::Online { user }),
            PresenceChange::Offline => (EventKind::UserOffline, EventBody::Offline { user }),
        };
        let hooks = self.events.of(kind);
        if let Some(event) = NewEvent::at(self.clock.now(), &hooks, || body) {
            self.writer.write(event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WatchList> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchList {
    /// Sets the time of the user's next check.
    fn check_at(&mut self, user: UserId, due: Instant) {
        if let Some(state) = self.users.get_mut(&user) {
            self.due.remove(&(state.due, user));
            state.due = due;
            self.due.insert((due, user));
        }
    }

    /// Notes the result of a check.
    fn checked(&mut self, user: UserId, here: bool, now: Instant) -> PresenceChange {
        let Some(state) = self.users.get_mut(&user) else {
            return PresenceChange::Unchanged;
        };
        if here {
            let change = if state.online {
                PresenceChange::Unchanged
            } else {
                PresenceChange::Online
            };
            (state.online, state.absent_since) = (true, None);
            self.check_at(user, now + CHECK_INTERVAL);
            return change;
        }
        let since = *state.absent_since.get_or_insert(now);
        if state.online && now < since + OFFLINE_DELAY {
            self.check_at(user, since + OFFLINE_DELAY);
            return PresenceChange::Unchanged;
        }
        let (due, online) = (state.due, state.online);
        self.users.remove(&user);
        self.due.remove(&(due, user));
        if online {
            PresenceChange::Offline
        } else {
            PresenceChange::Unchanged
        }
    }
}
