//! Makes notifications of stored events: adds the senders' profiles, and finds the users without a
//! live connection.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use uuid::{Builder, Uuid};

use crate::directory::ProfileDirectory;
use crate::envelope::Envelope;
use crate::events::{EventBody, EventKind, HookEvent};
use crate::hook_delivery::{HookNotification, NotificationBody};
use crate::id::UserId;
use crate::message::{Message, UserProfile};
use crate::store::{RouteStore, StoreError, StoreErrorKind};
use crate::time::UnixTimestamp;

/// Users whose routes are read in one call.
const USERS_PER_CALL: usize = 1_000;
/// Time limit of such a call.
const ROUTES_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the notifications of one hook.
#[derive(Clone, Debug)]
pub(super) struct NotificationMaker {
    kinds: BTreeSet<EventKind>,
    directory: ProfileDirectory,
    routes: Arc<dyn RouteStore>,
}

/// Messages of one user without a live connection.
#[derive(Debug, Default)]
struct UnseenMessages {
    at: UnixTimestamp,
    envelopes: Vec<Arc<Envelope>>,
}

impl NotificationMaker {
    /// Makes notifications of these kinds.
    pub(super) const fn new(
        kinds: BTreeSet<EventKind>,
        directory: ProfileDirectory,
        routes: Arc<dyn RouteStore>,
    ) -> Self {
        Self {
            kinds,
            directory,
            routes,
        }
    }

    /// Returns the notifications of these events, in their order; those about users without a live
    /// connection follow, one for each user. There may be none, if all users are connected.
    ///
    /// # Errors
    /// The routes could not be read.
    pub(super) async fn make(
        &self,
        events: &[&HookEvent],
    ) -> Result<Vec<HookNotification>, StoreError> {
        let profiles = self.profiles(events).await;
        let connected = self.connected(events).await?;
        let mut notifications = Vec::with_capacity(events.len());
        let mut unseen: BTreeMap<UserId, UnseenMessages> = BTreeMap::new();
        for event in events {
            let Some(body) = self.body(event, &profiles) else {
                continue;
            };
            if let (NotificationBody::MessageCreated(envelope), Some(connected)) =
                (&body, &connected)
            {
                for user in absent(event, connected) {
                    let messages = unseen.entry(user).or_default();
                    messages.at = event.at;
                    messages.envelopes.push(Arc::clone(envelope));
                }
            }
            let is_message = matches!(body, NotificationBody::MessageCreated(_));
            if !is_message || self.kinds.contains(&EventKind::MessageCreated) {
                notifications.push(HookNotification {
                    id: uuid_text(*event.id.as_bytes()),
                    at: event.at,
                    body,
                });
            }
        }
        notifications.extend(unseen.into_iter().map(|(user, unseen)| HookNotification {
            id: id_of(user, &unseen.envelopes),
            at: unseen.at,
            body: NotificationBody::MessageOffline {
                user,
                messages: unseen.envelopes,
            },
        }));
        Ok(notifications)
    }

    /// Returns the notification of an event. That of a message is always `message.created`.
    fn body(
        &self,
        event: &HookEvent,
        profiles: &HashMap<UserId, Arc<UserProfile>>,
    ) -> Option<NotificationBody> {
        let envelope = |message: &Arc<Message>| {
            let user = message.sender.user();
            let profile = user.and_then(|user| profiles.get(&user)).cloned();
            let profile = profile.unwrap_or_else(|| self.directory.nobody());
            Arc::new(Envelope::new(Arc::clone(message), profile, 0))
        };
        let body = match &event.body {
            EventBody::Message { message, .. } => {
                return Some(NotificationBody::MessageCreated(envelope(message)));
            }
            EventBody::RoomMessage { message, seq } => NotificationBody::RoomMessage {
                envelope: envelope(message),
                seq: *seq,
            },
            EventBody::Group {
                group,
                version,
                operator,
                change,
            } => NotificationBody::GroupChanged {
                group: *group,
                version: *version,
                operator: *operator,
                change: change.clone(),
            },
            EventBody::FriendRequested {
                user,
                friend,
                description,
            } => NotificationBody::FriendRequested {
                user: *user,
                friend: *friend,
                description: description.clone(),
            },
            EventBody::FriendAccepted { user, friend } => NotificationBody::FriendAccepted {
                user: *user,
                friend: *friend,
            },
            EventBody::Online { user } => NotificationBody::UserOnline(*user),
            EventBody::Offline { user } => NotificationBody::UserOffline(*user),
        };
        // Stored before a change of the configuration: the hook does not want it any more.
        self.kinds.contains(&event.body.kind()).then_some(body)
    }

    async fn profiles(&self, events: &[&HookEvent]) -> HashMap<UserId, Arc<UserProfile>> {
        let senders = events.iter().filter_map(|event| match &event.body {
            EventBody::Message { message, .. } | EventBody::RoomMessage { message, .. } => {
                message.sender.user()
            }
            _ => None,
        });
        let senders: BTreeSet<UserId> = senders.collect();
        let senders: Vec<UserId> = senders.into_iter().collect();
        // A profile that cannot be loaded now is left out: the event matters more.
        self.directory.profiles(&senders).await
    }

    /// Returns those recipients that have a live connection; `None` if the hook does not want to know.
    async fn connected(
        &self,
        events: &[&HookEvent],
    ) -> Result<Option<HashSet<UserId>>, StoreError> {
        if !self.kinds.contains(&EventKind::MessageOffline) {
            return Ok(None);
        }
        let recipients = events.iter().filter_map(|event| match &event.body {
            EventBody::Message { recipients, .. } => Some(recipients.iter().copied()),
            _ => None,
        });
        let users: BTreeSet<UserId> = recipients.flatten().collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let mut connected = HashSet::new();
        for part in users.chunks(USERS_PER_CALL) {
            let routes = timeout(ROUTES_TIMEOUT, self.routes.of(part)).await;
            let late = StoreError::new("route.of", StoreErrorKind::Unavailable);
            let routes = routes.unwrap_or(Err(late))?;
            connected.extend(routes.into_iter().map(|route| route.user));
        }
        Ok(Some(connected))
    }
}

/// Returns the recipients of a message, except its sender, that are not connected.
fn absent<'a>(
    event: &'a HookEvent,
    connected: &'a HashSet<UserId>,
) -> impl Iterator<Item = UserId> + 'a {
    let (sender, recipients) = match &event.body {
        EventBody::Message {
            message,
            recipients,
        } => (message.sender.user(), &**recipients),
        _ => (None, [].as_slice()),
    };
    let recipients = recipients.iter().copied();
    recipients.filter(move |user| Some(*user) != sender && !connected.contains(user))
}

/// Returns the id of a notification about these messages of a user. It depends on all of them: after a
/// failure a batch may be split, and a receiver that knows the id must not miss a message.
fn id_of(user: UserId, messages: &[Arc<Envelope>]) -> String {
    let mut hash = Sha256::new();
    hash.update(user.get().to_be_bytes());
    for envelope in messages {
        hash.update(envelope.message.id.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    Builder::from_custom_bytes(id).into_uuid().to_string()
}

/// Returns an id as text.
pub(super) fn uuid_text(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).to_string()
}
