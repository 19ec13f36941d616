//! Notifications as devices show them. The content of a message is hidden unless both the client
//! and the operator want it to be shown.

use std::time::Duration;

use gimlet_core::store::{PushProvider, PushRegistration};
use gimlet_core::time::UnixTimestamp;
use gimlet_json::{JsonContent, message_id};

use crate::collapse::CollapseKeys;
use crate::conversation::UnseenConversation;
use crate::wording::NotificationLanguage;

/// Largest number of characters of a title.
const TITLE_MAX_CHARS: usize = 100;
/// Largest number of characters of a text; lock screens show fewer. With each of them written as an
/// escape of six bytes, a notification is below the 4 KiB that every push service allows.
const TEXT_MAX_CHARS: usize = 300;

/// Rules of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationRules {
    /// True if a notification may show a sender's name and text where the client wants it.
    pub may_show_content: bool,
    /// Language for clients that name none, or one that gimlet has no texts in.
    pub language: NotificationLanguage,
    /// Time for which a push service keeps a notification for a device that it does not reach.
    pub ttl: Duration,
}

/// A notification for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceNotification {
    /// The title.
    pub(crate) title: String,
    /// The text below it; `None` if the content is hidden.
    pub(crate) text: Option<String>,
    /// Data for the app, by name.
    pub(crate) data: Vec<(&'static str, String)>,
    /// Key of the notifications of which the newest replaces the others.
    pub(crate) collapse: String,
    /// Time at which the notification has no use any more.
    pub(crate) expires_at: UnixTimestamp,
    /// Time until then.
    pub(crate) ttl: Duration,
}

impl DeviceNotification {
    /// Composes the notification of a conversation for a device; `None` if it is too old.
    pub(crate) fn compose(
        unseen: &UnseenConversation,
        registration: &PushRegistration,
        rules: &NotificationRules,
        keys: &CollapseKeys,
        now: UnixTimestamp,
    ) -> Option<Self> {
        let expires_at = unseen.at.after(rules.ttl);
        let left = u64::try_from(expires_at.0.saturating_sub(now.0)).unwrap_or_default();
        let ttl = Duration::from_millis(left).min(rules.ttl);
        if ttl < Duration::from_secs(1) {
            return None;
        }
        let language = NotificationLanguage::of_tag(&registration.locale);
        let language = language.unwrap_or(rules.language);
        let shows_content = rules.may_show_content && registration.shows_content;
        let message = &unseen.newest.message;
        let (title, text) = if shows_content {
            let content = JsonContent::decode(message.kind, &message.content);
            let name = line(&unseen.newest.profile.nickname, TITLE_MAX_CHARS);
            let text = line(language.content(&content), TEXT_MAX_CHARS);
            let title = Some(name).filter(|it| !it.is_empty());
            (title, Some(text).filter(|it| !it.is_empty()))
        } else {
            (None, None)
        };
        let mut data = vec![("type", "message".to_owned())];
        // Browsers decrypt what they get; the others' push services read it.
        if shows_content || registration.address.provider() == PushProvider::WebPush {
            data.extend([
                ("user_id", unseen.user.get().to_string()),
                ("conversation", unseen.conversation.to_string()),
                ("message_id", message_id(message.id)),
            ]);
        }
        Some(Self {
            title: title.unwrap_or_else(|| language.new_message().to_owned()),
            text,
            data,
            collapse: keys.of(unseen.user, unseen.conversation),
            expires_at,
            ttl,
        })
    }

    /// Returns the data as JSON.
    pub(crate) fn data_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let data = self.data.iter();
        data.map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect()
    }
}

/// Returns the beginning of a text as one line without control characters.
fn line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if word.is_empty() {
            continue;
        }
        let space = (chars > 0).then_some(' ');
        for letter in space.into_iter().chain(word.chars()) {
            if chars >= max_chars {
                line.push('…');
                return line;
            }
            line.push(letter);
            chars += 1;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use gimlet_core::message::MessageReceiver;
    use gimlet_core::store::PushAddress;

    use super::*;
    use crate::conversation::by_conversation;
    use crate::fixture::{fcm, registration, text, user};

    const TTL: Duration = Duration::from_mins(1);

    fn composed(
        words: &str,
        change: impl FnOnce(&mut PushRegistration, &mut NotificationRules),
    ) -> Option<DeviceNotification> {
        let mut registration = registration(1, fcm("t"));
        let mut rules = NotificationRules {
            may_show_content: true,
            language: NotificationLanguage::English,
            ttl: TTL,
        };
        change(&mut registration, &mut rules);
        let keys = CollapseKeys::of_private_key(b"key");
        let messages = [text(user(2), MessageReceiver::User(user(1)), words)];
        let at = UnixTimestamp(10_000);
        let unseen = by_conversation(user(1), at, &messages).remove(0);
        let now = UnixTimestamp(20_000);
        DeviceNotification::compose(&unseen, &registration, &rules, &keys, now)
    }

    #[test]
    fn content_is_shown_only_if_client_and_operator_want_it() {
        for (client, operator, shown) in [
            (true, true, true),
            (true, false, false),
            (false, true, false),
            (false, false, false),
        ] {
            let made = composed("secret words", |registration, rules| {
                registration.shows_content = client;
                rules.may_show_content = operator;
            });
            let made = made.unwrap();
            let all = format!("{made:?}");
            assert_eq!(all.contains("secret words"), shown, "{all}");
            assert_eq!(all.contains("Ada"), shown, "{all}");
            assert_eq!(all.contains("user:2"), shown, "{all}");
            assert_eq!(made.ttl, Duration::from_secs(50));
        }
    }

    #[test]
    fn a_browser_gets_the_conversation_because_its_service_cannot_read_it() {
        let made = composed("secret words", |registration, _| {
            registration.address = PushAddress::WebPush {
                endpoint: "https://push.example.net/a".into(),
                public_key: vec![4; 65],
                auth_secret: vec![0; 16],
            };
        });
        let all = format!("{made:?}");
        assert!(all.contains("user:2") && !all.contains("secret"), "{all}");
    }

    #[test]
    fn titles_are_in_the_language_of_the_device_or_of_the_server() {
        for (locale, language, title) in [
            ("zh-CN", NotificationLanguage::English, "新消息"),
            ("zh-HK", NotificationLanguage::English, "新訊息"),
            ("fr", NotificationLanguage::English, "New message"),
            ("", NotificationLanguage::SimplifiedChinese, "新消息"),
        ] {
            let made = composed("words", |registration, rules| {
                registration.locale = locale.into();
                rules.language = language;
            });
            assert_eq!(made.unwrap().title, title);
        }
    }

    #[test]
    fn an_old_notification_is_not_made() {
        let made = composed("words", |_, rules| rules.ttl = Duration::from_secs(10));
        assert_eq!(made, None);
    }

    #[test]
    fn texts_are_one_short_line() {
        assert_eq!(line(" a \n\n b\u{7}c ", 10), "a b c");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("ab cd", 3), "ab …");
        assert_eq!(line("", 3), "");
        let long = composed(&"\\\"".repeat(50_000), |registration, _| {
            registration.shows_content = true;
        });
        let text = long.unwrap().text.unwrap();
        assert_eq!(text.chars().count(), TEXT_MAX_CHARS + 1);
    }
}
