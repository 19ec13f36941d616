//! Recognises requests that came through a proxy, on every wire.
//!
//! A development run refuses them: it signs in anybody, and listening on loopback is not enough to
//! keep strangers out, because a proxy on the same machine forwards everybody to it. The headers
//! that proxies add reveal it. Connections that begin with the PROXY protocol are refused in every
//! run, except those of trusted proxies on a listener that expects it (`proxy_protocol`).

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

/// Bytes that are needed to recognise the PROXY protocol.
pub const PROXY_PREFIX_MAX: usize = 12;

/// Answer to a connection that begins with the PROXY protocol.
pub const PROXY_REFUSAL: &str = "this listener does not take the PROXY protocol from this address; \
                                 turn it off for this upstream (nginx: proxy_protocol off; haproxy: \
                                 leave out send-proxy), or set listen.proxy_protocol and \
                                 listen.trusted_proxies";

/// Returns the header that reveals a proxy; `has` tells whether the request has a header.
pub fn forwarding_header(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    FORWARDING_HEADERS.into_iter().find(|name| has(name))
}

/// Returns the reason to refuse a request that carries this header.
#[must_use]
pub fn refusal(header: &str) -> String {
    format!(
        "this is a development run, where 000000 signs in anybody, and the request came through a \
         proxy (header {header}); set GIMLET_BUSINESS__CODE_VERIFIER to the http:// address of \
         your code checker, or to fixed:CODE, before others may reach this server"
    )
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
    fn proxies_are_recognised_by_header_and_by_first_bytes() {
        assert_eq!(forwarding_header(|name| name == "via"), Some("via"));
        assert_eq!(forwarding_header(|name| name == "origin"), None);
        assert!(refusal("via").contains("GIMLET_BUSINESS__CODE_VERIFIER"));
        assert!(begins_with_proxy(b"PROXY TCP4 192.0.2.1"));
        assert!(begins_with_proxy(b"\r\n\r\n\0\r\nQUIT\n\x21"));
        for other in [&b"PRI * HTTP/2.0"[..], b"GET / HTTP/1.1", b"PROXY", b""] {
            assert!(!begins_with_proxy(other));
        }
        let longest = PROXY_PREFIXES.iter().map(|it| it.len()).max();
        assert_eq!(longest, Some(PROXY_PREFIX_MAX));
    }
}
