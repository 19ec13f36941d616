//! Checks of `[push]`, and the push services that are made of it.

use std::fs;
use std::sync::Arc;

use gimlet_push::{
    ApnsSettings, EcSigningKey, FcmSettings, NotificationLanguage, NotificationRules, OutboundUrl,
    PushSettings, ServiceAccount, WebPushSettings,
};

use super::Config;
use super::codec::without_password;
use super::load::env_name;

/// The settings of a section that are checked, and what is wrong with them.
struct SectionCheck {
    problems: Vec<String>,
}

impl SectionCheck {
    /// Notes a problem with a setting.
    fn refuse<T>(&mut self, text: String) -> Option<T> {
        self.problems.push(text);
        None
    }

    /// Returns a setting that another one needs.
    fn needed<'a>(
        &mut self,
        name: &str,
        value: Option<&'a str>,
        needs: &str,
        expected: &str,
    ) -> Option<&'a str> {
        if value.is_none() {
            let env = env_name(name);
            let text = format!("{name} is not set, and {needs} needs it; set {env} to {expected}");
            return self.refuse(text);
        }
        value
    }

    /// Refuses settings that have no effect because the key of their service is not set.
    fn unused(&mut self, key: &str, others: &[(&str, bool)]) {
        for (name, _) in others.iter().filter(|(_, is_set)| *is_set) {
            let env = env_name(key);
            self.problems.push(format!(
                "{name} is set, but {key} is not, so it has no effect; set {env}, or leave {name} out"
            ));
        }
    }

    /// Reads the file of a key.
    fn file<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        path: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Option<Arc<T>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) => {
                return self.refuse(format!(
                    "{name} = \"{path}\": it cannot be read ({error}); name a file that gimlet's \
                     user may read"
                ));
            }
        };
        match parse(&text) {
            Ok(parsed) => Some(Arc::new(parsed)),
            Err(error) => self.refuse(format!("{name} = \"{path}\": {error}")),
        }
    }

    fn url(&mut self, name: &str, url: Option<&str>, default: &str) -> Option<OutboundUrl> {
        let url = url.unwrap_or(default);
        match url.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                let shown = without_password(url);
                self.refuse(format!("{name} = \"{shown}\": {error}"))
            }
        }
    }

    /// Returns an id of Apple.
    fn apple_id(&mut self, name: &str, id: Option<&str>) -> Option<String> {
        let id = self.needed(name, id, "push.apns.key", "the id that Apple's site shows")?;
        if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Some(id.to_owned());
        }
        self.refuse(format!(
            "{name} = \"{id}\" is not an id of Apple: write its letters and digits"
        ))
    }
}

impl Config {
    pub(super) fn check_push(&self, problems: &mut Vec<String>) {
        if let Err(found) = self.push_settings() {
            problems.extend(found);
        }
    }

    /// Returns the push services, with their keys, or the reasons that they cannot be used.
    pub(crate) fn push_settings(&self) -> Result<PushSettings, Vec<String>> {
        let mut check = SectionCheck {
            problems: Vec::new(),
        };
        let push = &self.push;
        let language = NotificationLanguage::of_tag(&push.locale);
        if language.is_none() {
            check.problems.push(format!(
                "push.locale = \"{}\" is not a language of gimlet's texts: write en, zh or zh-Hant",
                push.locale
            ));
        }
        let settings = PushSettings {
            apns: self.apns(&mut check),
            fcm: self.fcm(&mut check),
            webpush: self.webpush(&mut check),
            rules: NotificationRules {
                may_show_content: push.show_content,
                language: language.unwrap_or_default(),
                ttl: push.ttl,
            },
            retry_for: push.retry_for,
            allow_private: !self.outbound.allow.is_empty(),
        };
        if check.problems.is_empty() {
            Ok(settings)
        } else {
            Err(check.problems)
        }
    }

    fn apns(&self, check: &mut SectionCheck) -> Option<ApnsSettings> {
        let apns = &self.push.apns;
        let Some(path) = &apns.key else {
            let others = [
                ("push.apns.key_id", apns.key_id.is_some()),
                ("push.apns.team_id", apns.team_id.is_some()),
                ("push.apns.topics", !apns.topics.is_empty()),
            ];
            check.unused("push.apns.key", &others);
            return None;
        };
        let key = check.file("push.apns.key", path, EcSigningKey::from_pem);
        let key_id = check.apple_id("push.apns.key_id", apns.key_id.as_deref());
        let team_id = check.apple_id("push.apns.team_id", apns.team_id.as_deref());
        let first = apns.topics.first().map(String::as_str);
        let expected = "the bundle ids of your apps";
        check.needed("push.apns.topics", first, "push.apns.key", expected);
        let is_topic = |topic: &str| topic.bytes().all(|byte| byte.is_ascii_graphic());
        for topic in apns.topics.iter().filter(|topic| !is_topic(topic)) {
            check.problems.push(format!(
                "push.apns.topics has \"{topic}\", which is not a bundle id: write it as \
                 com.example.chat"
            ));
        }
        let (url, sandbox) = (apns.url.as_deref(), apns.sandbox_url.as_deref());
        let url = check.url("push.apns.url", url, "https://api.push.apple.com");
        let default = "https://api.sandbox.push.apple.com";
        let sandbox_url = check.url("push.apns.sandbox_url", sandbox, default);
        Some(ApnsSettings {
            key: key?,
            key_id: key_id?,
            team_id: team_id?,
            topics: apns.topics.clone(),
            url: url?,
            sandbox_url: sandbox_url?,
        })
    }

    fn fcm(&self, check: &mut SectionCheck) -> Option<FcmSettings> {
        let fcm = &self.push.fcm;
        let path = fcm.service_account.as_deref()?;
        let account = check.file("push.fcm.service_account", path, ServiceAccount::parse);
        let default = "https://fcm.googleapis.com";
        let url = check.url("push.fcm.url", fcm.url.as_deref(), default);
        Some(FcmSettings {
            account: account?,
            url: url?,
        })
    }

    fn webpush(&self, check: &mut SectionCheck) -> Option<WebPushSettings> {
        let webpush = &self.push.webpush;
        let Some(path) = &webpush.key else {
            let others = [("push.webpush.contact", webpush.contact.is_some())];
            check.unused("push.webpush.key", &others);
            return None;
        };
        let key = check.file("push.webpush.key", path, EcSigningKey::from_pem);
        let expected = "mailto: and your address";
        let contact = webpush.contact.as_deref();
        let contact = check.needed(
            "push.webpush.contact",
            contact,
            "push.webpush.key",
            expected,
        );
        let is_contact = |it: &str| it.starts_with("mailto:") || it.starts_with("https://");
        if let Some(wrong) = contact.filter(|it| !is_contact(it)) {
            check.problems.push(format!(
                "push.webpush.contact = \"{wrong}\" is not an address: write \
                 mailto:ops@example.com, or an https:// address"
            ));
        }
        if webpush.hosts.is_empty() {
            let text =
                "push.webpush.hosts is empty, and then no browser can subscribe; leave it out";
            check.problems.push(text.into());
        }
        for host in webpush.hosts.iter().filter(|host| !is_host_pattern(host)) {
            check.problems.push(format!(
                "push.webpush.hosts has \"{host}\", which is not a host: write it as \
                 push.example.com or *.push.example.com"
            ));
        }
        Some(WebPushSettings {
            key: key?,
            contact: contact?.to_owned(),
            hosts: webpush.hosts.clone(),
        })
    }
}

/// Returns whether a text is a host, which may begin with `*.`.
fn is_host_pattern(text: &str) -> bool {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte);
    !host.is_empty() && !host.starts_with('.') && host.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::super::values::CodeVerifier;
    use super::*;

    fn with_key() -> (Config, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, EcSigningKey::generate_pem().unwrap()).unwrap();
        let mut config = Config::default();
        config.business.code_verifier = CodeVerifier::Development;
        let path = Some(file.display().to_string());
        config.push.apns.key.clone_from(&path);
        config.push.apns.key_id = Some("ABC1234567".into());
        config.push.apns.team_id = Some("DEF1234567".into());
        config.push.apns.topics = vec!["com.example.chat".into()];
        config.push.webpush.key = path;
        config.push.webpush.contact = Some("mailto:ops@example.com".into());
        (config, folder)
    }

    #[test]
    fn each_wrong_setting_is_named_with_what_would_be_right() {
        type ConfigChange = fn(&mut Config);
        let cases: [(ConfigChange, &str); 14] = [
            (|c| c.push.locale = "fr".into(), "push.locale"),
            (|c| c.push.apns.key_id = None, "GIMLET_PUSH__APNS__KEY_ID"),
            (|c| c.push.apns.team_id = Some("a b".into()), "team_id"),
            (|c| c.push.apns.topics.clear(), "GIMLET_PUSH__APNS__TOPICS"),
            (|c| c.push.apns.topics = vec!["a b".into()], "bundle id"),
            (|c| c.push.apns.key = None, "push.apns.key_id is set, but"),
            (|c| c.push.apns.key = Some("/nonexistent".into()), "read"),
            (|c| c.push.apns.url = Some("apple".into()), "push.apns.url"),
            (
                |c| c.push.fcm.service_account = c.push.apns.key.clone(),
                "Firebase console",
            ),
            (|c| c.push.webpush.contact = None, "mailto:"),
            (
                |c| c.push.webpush.contact = Some("ops@example.com".into()),
                "mailto:ops@example.com",
            ),
            (|c| c.push.webpush.key = None, "push.webpush.contact is set"),
            (|c| c.push.webpush.hosts.clear(), "no browser"),
            (
                |c| c.push.webpush.hosts = vec!["https://a".into()],
                "*.push.example.com",
            ),
        ];
        for (change, words) in cases {
            let (mut config, _folder) = with_key();
            config.check().unwrap();
            change(&mut config);
            let text = config.check().unwrap_err().to_string();
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn the_keys_of_the_environment_reach_the_services() {
        let (config, _folder) = with_key();
        let path = config.push.webpush.key.clone().unwrap();
        let env = [
            ("GIMLET_BUSINESS__CODE_VERIFIER", "dev"),
            ("GIMLET_PUSH__WEBPUSH__KEY", &path),
            ("GIMLET_PUSH__WEBPUSH__CONTACT", "https://example.com"),
            ("GIMLET_PUSH__TTL", "1h"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (config, _) = Config::load(None, env).unwrap();
        let settings = config.push_settings().unwrap();
        let services = settings.services();
        assert!(services.apns_topics.is_empty() && !services.has_fcm);
        assert_eq!(services.webpush_key.unwrap().len(), 87);
        assert_eq!(settings.subscriptions().len(), 1);
    }
}
