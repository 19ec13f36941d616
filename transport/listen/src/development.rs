//! Recognises requests of strangers to a development run, on every wire.
//!
//! A development run signs in anybody, and listening on loopback is not enough to keep strangers out.
//! A proxy on the same machine forwards everybody to it: the headers that proxies add reveal it. A web
//! page may let its own host name lead to 127.0.0.1, and its scripts then count as those of this server's
//! origin (DNS rebinding): the name in the `Host` header reveals it. Connections that begin with the PROXY protocol are refused in every
//! run, except those of trusted proxies on a listener that expects it (`proxy_protocol`).

use std::net::{IpAddr, SocketAddr};

/// Longest part of a host name that a refusal repeats.
const SHOWN_HOST_CHARS: usize = 100;

/// Headers that proxies add and that no client of gimlet sends.
const FORWARDING_HEADERS: [&str; 6] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "via",
    "x-forwarded-proto",
    "x-forwarded-host",
];

/// First bytes of the PROXY protocol, versions 1 and 2.
const PROXY_PREFIXES: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// Largest number of bytes that are needed to recognise the PROXY protocol.
pub const PROXY_PREFIX_MAX: usize = 12;

/// Answer to a connection that begins with the PROXY protocol.
pub const PROXY_REFUSAL: &str = "this listener does not take the PROXY protocol from this address; \
                                 turn it off for this upstream (nginx: proxy_protocol off; haproxy: \
                                 leave out send-proxy), or set listen.proxy_protocol and \
                                 listen.trusted_proxies";

/// Returns the reason for which a development run refuses a request, if there is one. `host` is the
/// request's host name, with or without a port; `has` tells whether it has a header.
pub fn refusal(host: Option<&str>, has: impl Fn(&str) -> bool) -> Option<String> {
    let header = FORWARDING_HEADERS.into_iter().find(|name| has(name));
    let stranger = if let Some(header) = header {
        format!("the request came through a proxy (header {header})")
    } else {
        let host = host.filter(|host| !is_loopback(host))?;
        let host: String = host.chars().take(SHOWN_HOST_CHARS).collect();
        format!("the request is for the host {host:?} instead of localhost or 127.0.0.1")
    };
    Some(format!(
        "this is a development run, where 000000 signs in anybody, and {stranger}; set \
         GIMLET_BUSINESS__CODE_VERIFIER to the http:// address of your code checker, or to \
         fixed:CODE, before others may reach this server"
    ))
}

/// Returns whether a host, with or without a port, is a loopback address or a name that always leads to
/// one (RFC 6761).
fn is_loopback(host: &str) -> bool {
    if let Ok(addr) = host.parse::<SocketAddr>() {
        return addr.ip().is_loopback();
    }
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let name = without_port.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = name.parse::<IpAddr>() {
        return ip.is_loopback();
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Returns whether a connection that begins with these bytes speaks the PROXY protocol.
#[must_use]
pub fn begins_with_proxy(bytes: &[u8]) -> bool {
    PROXY_PREFIXES.iter().any(|it| bytes.starts_with(it))
}

/// Returns whether the first bytes of a connection, of which there may be more, are those of the
/// PROXY protocol.
#[must_use]
pub fn may_begin_proxy(first: &[u8]) -> bool {
    PROXY_PREFIXES
        .iter()
        .any(|it| it.starts_with(first) || first.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_only_leads_to_this_machine_is_refused() {
        let refused = |host| refusal(Some(host), |_| false).is_some();
        for host in [
            "localhost",
            "LOCALHOST:8085",
            "localhost.",
            "chat.localhost:8085",
            "127.0.0.1",
            "127.1.2.3:8085",
            "[::1]",
            "[::1]:8085",
        ] {
            assert!(!refused(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8085",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "192.168.0.7:8085",
            "0.0.0.0:8085",
            "",
            "[::1",
            "127.0.0.1:x",
        ] {
            assert!(refused(host), "{host}");
        }
        assert_eq!(refusal(None, |_| false), None, "HTTP/1.0 names no host");
    }

    #[test]
    fn proxies_are_recognised_by_header_and_by_first_bytes() {
        let by = |header: &'static str| refusal(Some("localhost"), move |name| name == header);
        let text = by("via").unwrap();
        assert!(text.contains("via") && text.contains("GIMLET_BUSINESS__CODE_VERIFIER"));
        assert_eq!(by("origin"), None);
        assert!(begins_with_proxy(b"PROXY TCP4 192.0.2.1"));
        assert!(begins_with_proxy(b"\r\n\r\n\0\r\nQUIT\n\x21"));
        for other in [&b"PRI * HTTP/2.0"[..], b"GET / HTTP/1.1", b"PROXY", b""] {
            assert!(!begins_with_proxy(other));
        }
        let longest = PROXY_PREFIXES.iter().map(|it| it.len()).max();
        assert_eq!(longest, Some(PROXY_PREFIX_MAX));
    }
}
