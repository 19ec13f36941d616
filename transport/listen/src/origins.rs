//! Checks which web pages may open a WebSocket and upload.
//!
//! A browser lets any page open a WebSocket to any host and send forms to it; only the `Origin`
//! header identifies the page. Programs other than browsers do not send it.

use std::sync::Arc;

/// The origins of pages that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    same: bool,
    /// Allow pages of this machine, for a development run.
    local: bool,
    listed: Arc<[String]>,
}

impl AllowedOrigins {
    /// Creates the set from the setting: `same`, `any`, and origins as browsers send them. In a
    /// development run `same` includes pages of this machine.
    #[must_use]
    pub fn new(setting: &[String], development: bool) -> Self {
        let has = |word: &str| setting.iter().any(|it| it == word);
        let same = has("same");
        let listed = setting
            .iter()
            .filter(|it| !["same", "any"].contains(&it.as_str()));
        Self {
            any: has("any"),
            same,
            local: same && development,
            listed: listed
                .map(|it| it.trim_end_matches('/').to_owned())
                .collect(),
        }
    }

    /// Allows every page.
    #[must_use]
    pub fn any() -> Self {
        Self::new(&["any".to_owned()], false)
    }

    /// Checks one word of the setting.
    ///
    /// # Errors
    /// A text that lists the valid forms.
    pub fn check(word: &str) -> Result<(), &'static str> {
        let listed = authority(word).is_some_and(|(_, it)| !it.is_empty() && !it.contains('/'));
        if listed || ["same", "any"].contains(&word) {
            return Ok(());
        }
        Err("same, any, or a scheme and a host: write one such as https://chat.example.com")
    }

    /// Returns whether a request with this `Origin` to this `Host` may connect.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if self.any || self.listed.iter().any(|it| it.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Some((port, page)) = authority(origin) else {
            return false;
        };
        let is_same = |host: &str| {
            let host = host.strip_suffix(port).unwrap_or(host);
            host.eq_ignore_ascii_case(page.strip_suffix(port).unwrap_or(page))
        };
        self.same && host.is_some_and(is_same) || self.local && is_local(page)
    }
}

/// Returns the default port of an origin's scheme as an address suffix, and the origin's host and
/// port.
fn authority(origin: &str) -> Option<(&'static str, &str)> {
    let (scheme, page) = origin.split_once("://")?;
    match scheme {
        "http" => Some((":80", page)),
        "https" => Some((":443", page)),
        _ => None,
    }
}

/// Returns whether a host, with or without a port, is this machine's loopback.
fn is_local(page: &str) -> bool {
    let host = match page.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => page.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(setting: &[&str], development: bool) -> AllowedOrigins {
        let setting: Vec<String> = setting.iter().map(|it| (*it).to_owned()).collect();
        AllowedOrigins::new(&setting, development)
    }

    #[test]
    fn same_is_the_host_that_the_page_came_from() {
        let same = of(&["same"], false);
        for (origin, host) in [
            ("https://chat.example", "chat.example"),
            ("https://chat.example", "chat.example:443"),
            ("http://chat.example:80", "Chat.Example"),
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
        ] {
            assert!(same.allow(Some(origin), Some(host)), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "chat.example"),
            ("https://chat.example:8443", "chat.example"),
            ("http://localhost:3000", "127.0.0.1:8081"),
            ("null", "chat.example"),
            ("file://chat.example", "chat.example"),
        ] {
            assert!(!same.allow(Some(origin), Some(host)), "{origin} {host}");
        }
        assert!(!same.allow(Some("https://chat.example"), None));
        assert!(same.allow(None, Some("x")), "not a browser");
    }

    #[test]
    fn a_development_run_lets_pages_of_this_machine_in() {
        let local = of(&["same"], true);
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://[::1]:5173",
        ] {
            assert!(
                local.allow(Some(origin), Some("127.0.0.1:8081")),
                "{origin}"
            );
        }
        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "null",
        ] {
            assert!(
                !local.allow(Some(origin), Some("127.0.0.1:8081")),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_list_is_a_list() {
        let listed = of(&["https://app.example/", "https://b.example:8443"], false);
        assert!(listed.allow(Some("https://app.example"), Some("files.example")));
        assert!(listed.allow(Some("https://b.example:8443"), None));
        assert!(!listed.allow(Some("https://files.example"), Some("files.example")));
        assert!(AllowedOrigins::any().allow(Some("https://evil.example"), None));
        for wrong in ["chat.example", "https://", "ftp://x", "https://a/b"] {
            assert!(AllowedOrigins::check(wrong).is_err(), "{wrong}");
        }
    }
}
