//! The settings of one webhook.

use std::time::Duration;

use gimlet_core::limits::LimitBound;

use super::codec;
use super::repeated::repeated_settings;
use super::setting::{ConfigKey, SettingGroup, settings};
use super::values::{WebhookEvent, WebhookFailure, WebhookReceiver};
use crate::secret::SecretString;

repeated_settings! {
    /// `[[webhooks]]`.
    ///
    /// Each section names a program that gets events over HTTP, or that is asked before a message is
    /// accepted (`docs/webhooks.md`). The sections must be the same on all logic nodes. In the
    /// environment they are numbered from 0.
    pub struct WebhookConfig {
        /// Name of the webhook, under which its events are stored: 1 to 64 lower-case letters, digits,
        /// `-` and `_`. Names that begin with `push` are those of gimlet's own hooks. Required.
        name: Option<String> as maybe = None;
        /// Address of the program, which begins with `https://` unless `allow_private` is set.
        /// Required.
        url: Option<String> as url = None;
        /// Events that the program gets: some of `message.created`, `message.offline`,
        /// `room.message`, `group.changed`, `friend.requested`, `friend.accepted`, `user.online`,
        /// `user.offline`; or `message.before_send` alone. Required.
        events: Vec<WebhookEvent> as choices = Vec::new();
        /// Kinds of receivers whose `message.created` and `message.offline` it gets: `user`, `group`.
        receivers: Vec<WebhookReceiver> as choices =
            vec![WebhookReceiver::User, WebhookReceiver::Group];
        /// Secrets that requests are signed with, separated by commas: `whsec_` and the base64 of 24
        /// to 64 random bytes. To replace one, set the new and the old one until the program knows
        /// the new one. Required.
        secrets: Vec<SecretString> as secrets = Vec::new();
        /// Allows an address in a private network or on this machine, and `http://` for it. Link-local
        /// addresses stay forbidden.
        allow_private: bool as switch = false;
        /// Maximum number of events in one request.
        batch: usize as number = 100, LimitBound::range(1, 1_000);
        /// Time within which the program answers. `message.before_send` waits for one second at most.
        timeout: Duration as duration = Duration::from_secs(10), LimitBound::range(100, 60_000);
        /// Maximum number of requests under way at a time. Events of one receiver are never under way
        /// at the same time.
        concurrency: usize as number = 16, LimitBound::range(1, 256);
        /// Time for which an event is tried again; then it becomes a dead letter.
        retry_for: Duration as duration = Duration::from_hours(24), LimitBound::not_zero();
        /// Decision about a message when the program of `message.before_send` gives none: `open`
        /// sends it, `closed` refuses it with code 14.
        fail: WebhookFailure as choice = WebhookFailure::Open;
    }
}
