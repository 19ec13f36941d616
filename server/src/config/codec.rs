//! Codecs for the values of the configuration: one per kind of value, from text and back.
//!
//! Both layers, file and environment, pass through here as text, so a value means the same in each.
//! A failed parse says what would be right; the caller adds the key and the value.

use std::net::{Ipv4Addr, SocketAddr};

use gimlet_listen::forwarded::ForwardedHeader;

use super::values::{
    BusinessKind, CodeVerifier, DirectPolicy, GroupAdd, ListenerName, LogFormat, NodeRole,
    NodeRoles, RoomPush, StorageDurability, StorageKind, SyncFromZero,
};
use crate::secret::SecretString;

pub(super) mod secrets;

/// Durations: `500ms`, `10s`, `11m`, `2h`, `7d`.
pub(super) mod duration {
    use std::time::Duration;

    const UNITS: [(&str, u64); 5] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];

    pub(in crate::config) fn parse(text: &str) -> Result<Duration, String> {
        let wanted = || "write a number with a unit: 500ms, 10s, 11m, 2h, 7d".to_owned();
        let (number, unit) = super::split(text).ok_or_else(wanted)?;
        let (_, millis) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wanted)?;
        number
            .checked_mul(*millis)
            .map(Duration::from_millis)
            .ok_or_else(|| "that is longer than the longest duration".to_owned())
    }

    pub(in crate::config) fn show(value: &Duration) -> String {
        let millis = value.as_millis();
        UNITS
            .iter()
            .rev()
            .find(|(_, unit)| millis.is_multiple_of(u128::from(*unit)) && millis > 0)
            .map_or_else(
                || "0s".to_owned(),
                |(name, unit)| format!("{}{name}", millis / u128::from(*unit)),
            )
    }
}

/// Sizes: `60KiB`, `256MiB`, or a plain number of bytes.
pub(super) mod bytes {
    const UNITS: [(&str, u64); 4] = [
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];

    pub(in crate::config) fn parse<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
        let wanted = || "write a size: 512B, 60KiB, 256MiB, 4GiB".to_owned();
        let (number, unit) = super::split(text).ok_or_else(wanted)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .ok_or_else(wanted)?;
        number
            .checked_mul(*factor)
            .and_then(|bytes| T::try_from(bytes).ok())
            .ok_or_else(|| "that is larger than the largest size".to_owned())
    }

    pub(in crate::config) fn show<T: Copy + TryInto<u64>>(value: &T) -> String {
        let bytes = (*value).try_into().unwrap_or(u64::MAX);
        UNITS
            .iter()
            .rev()
            .find(|(_, unit)| bytes.is_multiple_of(*unit) && bytes > 0)
            .map_or_else(
                || "0B".to_owned(),
                |(name, unit)| format!("{}{name}", bytes / unit),
            )
    }
}

/// Splits `60KiB` into 60 and `KiB`.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Whole numbers.
pub(super) mod number {
    use std::fmt::Display;
    use std::str::FromStr;

    pub(in crate::config) fn parse<T: FromStr>(text: &str) -> Result<T, String> {
        text.trim()
            .parse()
            .map_err(|_| "write a whole number, for example 100".to_owned())
    }

    pub(in crate::config) fn show<T: Display>(value: &T) -> String {
        value.to_string()
    }
}

/// Switches.
pub(super) mod switch {
    pub(in crate::config) fn parse(text: &str) -> Result<bool, String> {
        match text.trim() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("write true or false".into()),
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "every codec shows a reference"
    )]
    pub(in crate::config) fn show(value: &bool) -> String {
        value.to_string()
    }
}

/// Paths.
pub(super) mod path {
    use std::path::PathBuf;

    pub(in crate::config) fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            return Err("write a folder, for example ./data".into());
        }
        Ok(PathBuf::from(text))
    }

    pub(in crate::config) fn show(value: &std::path::Path) -> String {
        value.display().to_string()
    }
}

/// Text that may not be empty.
pub(super) mod text {
    pub(in crate::config) fn parse(text: &str) -> Result<String, String> {
        if text.trim().is_empty() {
            return Err("it must not be empty; leave the key out for the default".into());
        }
        Ok(text.trim().to_owned())
    }

    pub(in crate::config) fn show(value: &str) -> String {
        value.to_owned()
    }
}

/// Text that counts as not set when it is empty.
pub(super) mod maybe {
    #[expect(clippy::unnecessary_wraps, reason = "every codec can fail")]
    pub(in crate::config) fn parse(text: &str) -> Result<Option<String>, String> {
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    #[expect(clippy::ref_option, reason = "every codec shows a reference")]
    pub(in crate::config) fn show(value: &Option<String>) -> String {
        value.clone().unwrap_or_default()
    }
}

/// An address that counts as not set when it is empty.
pub(super) mod url {
    pub(in crate::config) use super::maybe::parse;

    #[expect(clippy::ref_option, reason = "every codec shows a reference")]
    pub(in crate::config) fn show(value: &Option<String>) -> String {
        value
            .as_deref()
            .map(super::without_password)
            .unwrap_or_default()
    }
}

/// Masks the credentials: `http://name:password@host/` becomes `http://***@host/`.
pub(super) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("***@{host}{path}"),
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => url.to_owned(),
    }
}

/// Secrets: not set when empty, shown as `***`.
pub(super) mod secret {
    use super::SecretString;

    #[expect(clippy::unnecessary_wraps, reason = "every codec can fail")]
    pub(in crate::config) fn parse(text: &str) -> Result<Option<SecretString>, String> {
        // A secret that is mounted as a file often ends with a newline.
        let text = text.trim_end_matches(['\r', '\n']);
        Ok((!text.is_empty()).then(|| SecretString::new(text)))
    }

    #[expect(clippy::ref_option, reason = "every codec shows a reference")]
    pub(in crate::config) fn show(value: &Option<SecretString>) -> String {
        value.as_ref().map_or("", |_| "***").to_owned()
    }
}

/// Keys of backends, shown as `***` each.
pub(super) mod api_keys {
    use gimlet_web::api::ApiKeys;

    use super::SecretString;

    pub(in crate::config) fn parse(text: &str) -> Result<Vec<SecretString>, String> {
        let keys = super::items(text).map(|key| {
            let text = |expected| format!("a key is {expected}; separate several keys by commas");
            ApiKeys::check(key).map_err(text)?;
            Ok(SecretString::new(key))
        });
        keys.collect()
    }

    pub(in crate::config) fn show(value: &[SecretString]) -> String {
        vec!["***"; value.len()].join(",")
    }
}

/// Addresses with a password in them: shown with the password masked.
pub(super) mod secret_url {
    use super::SecretString;
    pub(in crate::config) use super::secret::parse;

    #[expect(clippy::ref_option, reason = "every codec shows a reference")]
    pub(in crate::config) fn show(value: &Option<SecretString>) -> String {
        let urls = value.iter().flat_map(|urls| urls.reveal().split(','));
        let shown: Vec<_> = urls.map(super::password_masked).collect();
        shown.join(",")
    }
}

/// Masks the password only, because an operator wants to see which server it is:
/// `mysql://name:password@host/db?x=y` becomes `mysql://name:***@host/db?x=y`. A text that is not
/// an address is masked whole.
pub(super) fn password_masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A password with a bare / in it ends the authority too early: no part of it may show.
    let (before, _) = path.split_once('?').unwrap_or((path, ""));
    let Some((user, host)) = authority.rsplit_once('@') else {
        return match before.rsplit_once('@') {
            Some((_, rest)) => format!("{scheme}://***@{rest}"),
            None => format!("{scheme}://{authority}{}", query_masked(path)),
        };
    };
    if before.contains('@') {
        return format!("{scheme}://***");
    }
    let path = query_masked(path);
    match user.split_once(':') {
        Some((name, _)) => format!("{scheme}://{name}:***@{host}{path}"),
        None => format!("{scheme}://{user}@{host}{path}"),
    }
}

/// Masks the values of a query whose names suggest a secret.
fn query_masked(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else {
        return path.to_owned();
    };
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _))
                if ["pass", "secret", "token"]
                    .iter()
                    .any(|it| name.contains(it)) =>
            {
                format!("{name}=***")
            }
            _ => pair.to_owned(),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

/// Lists of text, separated by commas.
pub(super) mod list {
    #[expect(clippy::unnecessary_wraps, reason = "every codec can fail")]
    pub(in crate::config) fn parse(text: &str) -> Result<Vec<String>, String> {
        Ok(super::items(text).map(str::to_owned).collect())
    }

    pub(in crate::config) fn show(value: &[String]) -> String {
        value.join(",")
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Listen addresses; `off` opens none.
pub(super) mod addr {
    use std::net::SocketAddr;

    pub(in crate::config) fn parse(text: &str) -> Result<Option<SocketAddr>, String> {
        if text.trim() == "off" {
            return Ok(None);
        }
        super::address(text).map(Some)
    }

    #[expect(clippy::ref_option, reason = "every codec shows a reference")]
    pub(in crate::config) fn show(value: &Option<SocketAddr>) -> String {
        value.map_or_else(|| "off".to_owned(), |addr| addr.to_string())
    }
}

/// Several listen addresses, separated by commas; `off` opens none.
pub(super) mod addrs {
    use std::net::SocketAddr;

    pub(in crate::config) fn parse(text: &str) -> Result<Vec<SocketAddr>, String> {
        if text.trim() == "off" {
            return Ok(Vec::new());
        }
        let all = super::items(text)
            .map(super::address)
            .collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return Err("write addresses separated by commas, or off".into());
        }
        Ok(all)
    }

    pub(in crate::config) fn show(value: &[SocketAddr]) -> String {
        if value.is_empty() {
            return "off".into();
        }
        let all: Vec<String> = value.iter().map(ToString::to_string).collect();
        all.join(",")
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Some(port) = text.strip_prefix("localhost:").and_then(|p| p.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        "write an IP address and a port, for example 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080 \
         (port 0 takes a free one), or off"
            .to_owned()
    })
}

/// The checker of verification codes: `dev`, `fixed:CODE`, or an HTTP address; empty is not set.
pub(super) mod verifier {
    use super::{CodeVerifier, SecretString};

    pub(in crate::config) fn parse(text: &str) -> Result<CodeVerifier, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(CodeVerifier::Unset);
        }
        if text == "dev" {
            return Ok(CodeVerifier::Development);
        }
        if let Some(code) = text.strip_prefix("fixed:") {
            if code.is_empty() {
                return Err("write the code after fixed:, for example fixed:248163".into());
            }
            return Ok(CodeVerifier::Fixed(SecretString::new(code)));
        }
        if text.starts_with("http://") {
            return Ok(CodeVerifier::Http(text.to_owned()));
        }
        if text.starts_with("https://") {
            return Err(
                "this build calls verifiers over plain http only; put a local proxy that speaks \
                 TLS in between and write its http:// address"
                    .into(),
            );
        }
        Err("write dev, fixed:CODE or an address that begins with http://".into())
    }

    pub(in crate::config) fn show(value: &CodeVerifier) -> String {
        match value {
            CodeVerifier::Unset => String::new(),
            CodeVerifier::Development => "dev".into(),
            CodeVerifier::Fixed(_) => "fixed:***".into(),
            CodeVerifier::Http(url) => super::without_password(url),
        }
    }
}

/// An enum whose values have fixed names.
pub(super) trait NamedChoice: Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];
}

/// One of a fixed set of names.
pub(super) mod choice {
    use super::NamedChoice;

    pub(in crate::config) fn parse<T: NamedChoice>(text: &str) -> Result<T, String> {
        T::NAMES
            .iter()
            .find(|(name, _)| *name == text.trim())
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<_> = T::NAMES.iter().map(|(name, _)| *name).collect();
                format!("write one of: {}", names.join(", "))
            })
    }

    pub(in crate::config) fn show<T: NamedChoice>(value: &T) -> String {
        T::NAMES
            .iter()
            .find(|(_, known)| known == value)
            .map_or("", |(name, _)| name)
            .to_owned()
    }
}

/// Some of a fixed set of names, separated by commas; empty is none of them.
pub(super) mod choices {
    use super::{NamedChoice, choice};

    pub(in crate::config) fn parse<T: NamedChoice>(text: &str) -> Result<Vec<T>, String> {
        let mut found = Vec::new();
        for name in super::items(text) {
            let value = choice::parse::<T>(name)
                .map_err(|wanted| wanted.replace("write one of", "write some of"))?;
            if !found.contains(&value) {
                found.push(value);
            }
        }
        Ok(found)
    }

    pub(in crate::config) fn show<T: NamedChoice>(values: &[T]) -> String {
        let names: Vec<_> = values.iter().map(choice::show).collect();
        names.join(",")
    }
}

/// Networks, separated by commas.
pub(super) mod networks {
    use gimlet_listen::TrustedNetwork;

    pub(in crate::config) fn parse(text: &str) -> Result<Vec<TrustedNetwork>, String> {
        super::items(text).map(str::parse).collect()
    }

    pub(in crate::config) fn show(value: &[TrustedNetwork]) -> String {
        let all: Vec<String> = value.iter().map(ToString::to_string).collect();
        all.join(",")
    }
}

macro_rules! names {
    ($($type:ident { $($name:literal => $value:ident),+ })+) => {
        $(impl NamedChoice for $type {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$value)),+];
        })+
    };
}
names! {
    NodeRole { "connect" => Connect, "logic" => Logic, "business" => Business }
    StorageKind { "memory" => Memory, "sled" => Sled, "mysql" => Mysql }
    BusinessKind { "grpc" => Grpc, "http" => Http }
    StorageDurability { "power" => Power, "process" => Process }
    DirectPolicy { "anyone" => Anyone, "friends" => Friends }
    GroupAdd { "anyone" => Anyone, "friends" => Friends }
    RoomPush { "anyone" => Anyone, "business" => Business }
    SyncFromZero { "all" => All, "device_ack" => DeviceAck, "user_ack" => UserAck }
    ListenerName { "tcp" => Tcp, "ws" => Ws, "http" => Http, "grpc" => Grpc, "ops" => Ops }
    ForwardedHeader { "x-forwarded-for" => XForwardedFor, "forwarded" => Forwarded }
    LogFormat { "text" => Text, "json" => Json }
}

/// Roles, separated by commas.
pub(super) mod roles {
    use super::{NodeRoles, choice};

    pub(in crate::config) fn parse(text: &str) -> Result<NodeRoles, String> {
        let roles = super::items(text)
            .map(choice::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if roles.is_empty() {
            return Err("write at least one of: connect, logic, business".into());
        }
        Ok(NodeRoles(roles))
    }

    pub(in crate::config) fn show(value: &NodeRoles) -> String {
        let names: Vec<_> = value.0.iter().map(choice::show).collect();
        names.join(",")
    }
}

#[cfg(test)]
mod tests;
