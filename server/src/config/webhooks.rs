//! Webhooks of the configuration: rules between their settings, and the settings of their clients.

use std::collections::BTreeSet;

use gimlet_core::before_send::HookFailureMode;
use gimlet_core::events::{EventKind, HookName, MessageFilter};
use gimlet_webhooks::{
    BeforeSendSettings, HookConnection, WebhookSettings, check_secret, check_url,
};

use super::Config;
use super::codec::NamedChoice;
use super::values::{WebhookEvent, WebhookFailure, WebhookReceiver};
use super::webhook_settings::WebhookConfig;
use crate::secret::SecretString;

/// Largest number of secrets of a webhook: more signatures than that are never needed at a time.
const MAX_SECRETS: usize = 5;

/// Prefix of the names of gimlet's own hooks, by which push services get their events.
const PUSH_HOOK_PREFIX: &str = "push";

impl NamedChoice for WebhookEvent {
    const NAMES: &'static [(&'static str, Self)] = &[
        named(EventKind::MessageCreated),
        named(EventKind::MessageOffline),
        named(EventKind::RoomMessage),
        named(EventKind::GroupChanged),
        named(EventKind::FriendRequested),
        named(EventKind::FriendAccepted),
        named(EventKind::UserOnline),
        named(EventKind::UserOffline),
        ("message.before_send", Self::BeforeSend),
    ];
}

impl NamedChoice for WebhookReceiver {
    const NAMES: &'static [(&'static str, Self)] = &[("user", Self::User), ("group", Self::Group)];
}

impl NamedChoice for WebhookFailure {
    const NAMES: &'static [(&'static str, Self)] =
        &[("open", Self::Open), ("closed", Self::Closed)];
}

const fn named(kind: EventKind) -> (&'static str, WebhookEvent) {
    (kind.name(), WebhookEvent::Event(kind))
}

/// The webhooks of a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfiguredWebhooks {
    /// Those that get events.
    pub(crate) events: Vec<WebhookSettings>,
    /// The one that is asked before a message is accepted.
    pub(crate) before_send: Option<BeforeSendSettings>,
}

impl Config {
    pub(super) fn check_webhooks(&self, problems: &mut Vec<String>) {
        if let Err(found) = self.configured_webhooks() {
            problems.extend(found);
        }
    }

    /// Returns the webhooks, or the reasons that they cannot be used.
    pub(crate) fn configured_webhooks(&self) -> Result<ConfiguredWebhooks, Vec<String>> {
        let (mut webhooks, mut problems) = (ConfiguredWebhooks::default(), Vec::new());
        let mut names = BTreeSet::new();
        for (at, config) in self.webhooks.iter().enumerate() {
            let mut item = WebhookItem {
                key: format!("webhooks.{at}"),
                config,
                problems: &mut problems,
            };
            let Some(connection) = item.connection() else {
                // Mistakes in the events are reported in the same run.
                item.check_events();
                continue;
            };
            if !names.insert(connection.name.clone()) {
                item.refuse(
                    "name",
                    &format!(
                        "is \"{}\" a second time; give each webhook a name of its own",
                        connection.name
                    ),
                );
            }
            if !item.check_events() {
                continue;
            }
            if !config.events.contains(&WebhookEvent::BeforeSend) {
                webhooks.events.push(event_webhook(config, connection));
            } else if webhooks.before_send.is_none() {
                webhooks.before_send = Some(BeforeSendSettings {
                    connection,
                    failure: match config.fail {
                        WebhookFailure::Open => HookFailureMode::Open,
                        WebhookFailure::Closed => HookFailureMode::Closed,
                    },
                });
            } else {
                let text = "has message.before_send a second time; one program decides";
                item.refuse("events", text);
            }
        }
        if problems.is_empty() {
            Ok(webhooks)
        } else {
            Err(problems)
        }
    }
}

/// One section, while it is checked.
struct WebhookItem<'a> {
    key: String,
    config: &'a WebhookConfig,
    problems: &'a mut Vec<String>,
}

impl WebhookItem<'_> {
    fn refuse(&mut self, field: &str, text: &str) {
        self.problems.push(format!("{}.{field} {text}", self.key));
    }

    /// Returns the connection, or reports the mistakes in its settings.
    fn connection(&mut self) -> Option<HookConnection> {
        let config = self.config;
        let name = self.name();
        let url = match &config.url {
            None => {
                let example = "https://app.example.com/gimlet";
                self.refuse(
                    "url",
                    &format!(
                        "is not set; set it to the address of the program, for example {example}"
                    ),
                );
                None
            }
            Some(url) => match check_url(url, config.allow_private) {
                Ok(()) => Some(url.clone()),
                Err(remedy) => {
                    self.refuse("url", &format!("cannot be used: {remedy}"));
                    None
                }
            },
        };
        let secrets = self.secrets();
        Some(HookConnection {
            name: name?,
            url: url?,
            secrets: secrets?,
            allow_private: config.allow_private,
            timeout: config.timeout,
            concurrency: config.concurrency,
        })
    }

    fn name(&mut self) -> Option<HookName> {
        let Some(name) = &self.config.name else {
            self.refuse("name", "is not set; choose one, for example \"crm\"");
            return None;
        };
        match HookName::new(name) {
            Ok(name) if name.as_str().starts_with(PUSH_HOOK_PREFIX) => {
                let text = format!(
                    "is \"{name}\", and names that begin with push are those of gimlet's own hooks; \
                     choose another one"
                );
                self.refuse("name", &text);
                None
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.refuse("name", &format!("cannot be used: {error}"));
                None
            }
        }
    }

    fn secrets(&mut self) -> Option<Vec<String>> {
        let secrets = &self.config.secrets;
        if secrets.is_empty() {
            let example = "echo whsec_$(openssl rand -base64 32)";
            self.refuse("secrets", &format!("is not set; make one with `{example}`"));
            return None;
        }
        if secrets.len() > MAX_SECRETS {
            let text = format!(
                "has {} secrets; at most {MAX_SECRETS} are allowed",
                secrets.len()
            );
            self.refuse("secrets", &text);
            return None;
        }
        let secrets = secrets.iter().map(SecretString::reveal);
        let wrong = secrets
            .clone()
            .find_map(|secret| check_secret(secret).err());
        if let Some(remedy) = wrong {
            self.refuse("secrets", &format!("cannot be used: {remedy}"));
            return None;
        }
        Some(secrets.map(str::to_owned).collect())
    }

    /// Returns whether the events may be together in one section; reports a mistake in them.
    fn check_events(&mut self) -> bool {
        let config = self.config;
        let asks = config.events.contains(&WebhookEvent::BeforeSend);
        if config.events.is_empty() {
            let text = "is not set; name at least one, for example message.created";
            self.refuse("events", text);
        } else if asks && config.events.len() > 1 {
            self.refuse(
                "events",
                "has message.before_send beside events; write a section of its own for it",
            );
        } else if !asks && config.fail == WebhookFailure::Closed {
            self.refuse("fail", "is for message.before_send; leave it out");
        } else {
            return true;
        }
        false
    }
}

fn event_webhook(config: &WebhookConfig, connection: HookConnection) -> WebhookSettings {
    let events = config.events.iter().filter_map(|event| match event {
        WebhookEvent::Event(kind) => Some(*kind),
        WebhookEvent::BeforeSend => None,
    });
    let events: BTreeSet<EventKind> = events.collect();
    WebhookSettings {
        connection,
        events,
        messages: MessageFilter {
            users: config.receivers.contains(&WebhookReceiver::User),
            groups: config.receivers.contains(&WebhookReceiver::Group),
        },
        batch: config.batch,
        retry_for: config.retry_for,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn config(text: &str) -> Config {
        let mut config = Config::embedded();
        config.apply_toml(Path::new("x"), text).unwrap();
        config
    }

    fn webhook(lines: &str) -> String {
        format!("[[webhooks]]\n{lines}\n")
    }

    fn right(name: &str, rest: &str) -> String {
        webhook(&format!(
            "name = \"{name}\"\nurl = \"https://app.example.com/\"\nsecrets = \"{SECRET}\"\n{rest}"
        ))
    }

    fn problems(text: &str) -> String {
        config(text).check().unwrap_err().to_string()
    }

    #[test]
    fn every_event_has_a_name() {
        for kind in EventKind::ALL {
            let mut names = WebhookEvent::NAMES.iter();
            let found = names.find(|(name, _)| *name == kind.name());
            assert_eq!(found.unwrap().1, WebhookEvent::Event(kind));
        }
        assert_eq!(WebhookEvent::NAMES.len(), EventKind::ALL.len() + 1);
    }

    #[test]
    fn sections_become_webhooks() {
        let text = right(
            "crm",
            "events = [\"message.created\", \"group.changed\"]\nbatch = 7",
        ) + &right(
            "gate",
            "events = \"message.before_send\"\nfail = \"closed\"",
        );
        let config = config(&text);
        assert!(config.check().is_ok());
        let webhooks = config.configured_webhooks().unwrap();
        let [crm] = webhooks.events.as_slice() else {
            panic!("{webhooks:?}");
        };
        assert_eq!(crm.connection.name.as_str(), "crm");
        assert_eq!((crm.batch, crm.events.len()), (7, 2));
        assert_eq!(crm.messages, MessageFilter::ALL);
        let gate = webhooks.before_send.unwrap();
        assert_eq!(gate.failure, HookFailureMode::Closed);
        let shown = config.masked();
        assert!(shown.contains("[[webhooks]]\nname = \"crm\""), "{shown}");
        assert!(!shown.contains("MfKQ"), "{shown}");
    }

    #[test]
    fn the_environment_numbers_the_sections() {
        let env = [
            ("GIMLET_BUSINESS__CODE_VERIFIER", "dev"),
            ("GIMLET_WEBHOOKS__0__NAME", "crm"),
            ("GIMLET_WEBHOOKS__0__URL", "http://127.0.0.1:9/"),
            ("GIMLET_WEBHOOKS__0__ALLOW_PRIVATE", "true"),
            ("GIMLET_WEBHOOKS__0__SECRETS", SECRET),
            ("GIMLET_WEBHOOKS__0__EVENTS", "message.offline"),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (config, _) = Config::load(None, env.clone()).unwrap();
        assert_eq!(config.webhooks.len(), 1);
        assert_eq!(config.configured_webhooks().unwrap().events.len(), 1);
        for (wrong, needle) in [
            (
                "GIMLET_WEBHOOKS__0__ULR",
                "did you mean GIMLET_WEBHOOKS__0__URL?",
            ),
            ("GIMLET_WEBHOOKS__99__URL", "number the items from 0"),
            ("GIMLET_WEBHOOKS__0", "it is a section"),
            ("GIMLET_WEBHOOKS__X__URL", "unknown key"),
        ] {
            let wrong = [(wrong.to_owned(), "https://a/".to_owned())];
            let error = Config::load(None, env.clone().into_iter().chain(wrong));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_section() {
        let other = right("crm", "events = \"user.online\"");
        for (text, needle) in [
            ("[[webhooks]]\n".to_owned(), "webhooks.0.name is not set"),
            (
                webhook("name = \"Crm\""),
                "\"Crm\" is not the name of a hook",
            ),
            (webhook("name = \"push\""), "choose another one"),
            (webhook("name = \"crm\""), "webhooks.0.url is not set"),
            (
                webhook("url = \"http://10.0.0.1/\""),
                "allow_private = true",
            ),
            (
                webhook("url = \"ftp://a\""),
                "webhooks.0.url cannot be used",
            ),
            (webhook("name = \"crm\""), "openssl rand -base64 32"),
            (
                webhook("secrets = \"s3cret-s3cret\""),
                "webhooks.0.secrets cannot be used",
            ),
            (right("crm", ""), "webhooks.0.events is not set"),
            (
                right("crm", "events = \"message.before_send,user.online\""),
                "a section of its own",
            ),
            (
                right("crm", "events = \"user.online\"\nfail = \"closed\""),
                "webhooks.0.fail is for message.before_send",
            ),
            (
                other.clone() + &other,
                "webhooks.1.name is \"crm\" a second time",
            ),
            (
                right("a", "events = \"message.before_send\"")
                    + &right("b", "events = \"message.before_send\""),
                "webhooks.1.events has message.before_send a second time",
            ),
            (
                right("crm", "events = \"user.online\"\nbatch = 0"),
                "webhooks.0.batch = 0 is out of range; write 1 … 1000",
            ),
        ] {
            let found = problems(&text);
            assert!(found.contains(needle), "{text}\n{found}");
            assert!(!found.contains("s3cret"), "{found}");
        }
    }

    #[test]
    fn a_section_that_is_written_wrongly_is_explained() {
        for (text, needle) in [
            ("[webhooks]\nname = \"crm\"", "write [[webhooks]]"),
            ("[[webhooks]]\nevents = \"message.sent\"", "message.created"),
            (
                "[[webhooks]]\nnmae = \"crm\"",
                "did you mean webhooks.0.name?",
            ),
            ("webhooks = [\"crm\"]", "it is a section"),
        ] {
            let mut config = Config::embedded();
            let wrong = config.apply_toml(Path::new("x"), text).unwrap_err();
            assert!(wrong.to_string().contains(needle), "{text}\n{wrong}");
        }
    }
}
