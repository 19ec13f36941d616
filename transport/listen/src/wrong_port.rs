//! Detects clients on the wrong port: HTTP, gRPC or TLS where gim's frames are expected. They are
//! recognised by their first bytes and answered in their own protocol with a text that names the
//! right port, instead of silence.

use crate::development;

/// The first bytes of every HTTP/2 client.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// The first bytes of HTTP/1 requests. They cannot begin a frame of gim: after the two-byte length,
/// the third byte would be the tag of a `pb.Input` field, and no field has one of these.
const METHODS: [&[u8]; 8] = [
    b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PATC", b"DELE", b"CONN",
];
/// First byte of every TLS connection: the kind of record that a handshake is in.
pub const TLS_HANDSHAKE: u8 = 0x16;
/// The head of a TLS handshake record of any version.
const TLS: &[u8] = &[TLS_HANDSHAKE, 0x03];
/// The TLS alert `protocol_version`.
const PROTOCOL_VERSION: u8 = 70;
/// The TLS alert `internal_error`.
pub const INTERNAL_ERROR: u8 = 80;
/// Bytes that are needed to recognise a protocol.
pub const LEAST: usize = 4;

/// A protocol that belongs to another port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// HTTP/1: a browser, curl, a probe, a WebSocket client.
    Http1,
    /// HTTP/2 without TLS: a gRPC client.
    Http2,
    /// TLS.
    Tls,
    /// The PROXY protocol, where it is not expected.
    Proxy,
}

impl ForeignProtocol {
    /// Recognises a protocol by the first bytes of a connection; [`LEAST`] bytes are enough.
    #[must_use]
    pub fn of(first: &[u8]) -> Option<Self> {
        if first.len() < LEAST {
            return None;
        }
        // No packet begins like it either: the third byte of version 2 would be the tag of a field
        // 1 with four bytes.
        if development::may_begin_proxy(first) {
            return Some(Self::Proxy);
        }
        if PREFACE.starts_with(first) || first.starts_with(PREFACE) {
            return Some(Self::Http2);
        }
        if METHODS.iter().any(|method| first.starts_with(method)) {
            return Some(Self::Http1);
        }
        // The third byte is the minor version: TLS 1.0 to 1.3 write 1 to 3. As the tag of a
        // `pb.Input` field, no value up to 4 is possible.
        let is_tls = first.starts_with(TLS) && first.get(2).is_some_and(|minor| *minor <= 4);
        is_tls.then_some(Self::Tls)
    }

    /// Returns the answer that a client of this protocol can show; `text` says what listens here
    /// and where the client may want to go. TLS has no field for a text, so its client only learns
    /// that the handshake failed.
    #[must_use]
    pub fn answer(self, text: &str) -> Vec<u8> {
        match self {
            Self::Proxy => Self::Http1.answer(development::PROXY_REFUSAL),
            Self::Http1 => format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
                text.len() + 1
            )
            .into_bytes(),
            Self::Http2 => go_away(text),
            Self::Tls => alert(PROTOCOL_VERSION),
        }
    }

    /// Returns the protocol's name, for the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1",
            Self::Http2 => "HTTP/2 (gRPC)",
            Self::Tls => "TLS",
            Self::Proxy => "PROXY protocol",
        }
    }
}

/// A fatal TLS alert in a record of its own, as a server may send it before it knows the client.
#[must_use]
pub fn alert(description: u8) -> Vec<u8> {
    vec![0x15, 0x03, 0x01, 0x00, 0x02, 0x02, description]
}

/// Encodes SETTINGS, which HTTP/2 requires first, and GOAWAY with debug data, which gRPC clients
/// show.
fn go_away(text: &str) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: u8 = 7;
    const HTTP_1_1_REQUIRED: u32 = 0xd;
    let text = text.get(..text.len().min(1_000)).unwrap_or_default();
    let length = u32::try_from(8 + text.len()).unwrap_or(8);
    let mut answer = SETTINGS.to_vec();
    answer.extend(length.to_be_bytes().iter().skip(1));
    answer.extend([GOAWAY, 0, 0, 0, 0, 0]);
    answer.extend(0_u32.to_be_bytes());
    answer.extend(HTTP_1_1_REQUIRED.to_be_bytes());
    answer.extend(text.as_bytes());
    answer
}

#[cfg(test)]
mod tests {
    use gimlet_proto::pb;
    use prost::Message as _;

    use super::*;

    #[test]
    fn clients_of_other_ports_are_recognised() {
        for (first, foreign) in [
            (&b"GET /ws HTTP/1.1\r\n"[..], ForeignProtocol::Http1),
            (b"POST", ForeignProtocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM", ForeignProtocol::Http2),
            (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], ForeignProtocol::Tls),
            (b"PROXY TCP4 192.0.2.1", ForeignProtocol::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", ForeignProtocol::Proxy),
        ] {
            assert_eq!(ForeignProtocol::of(first), Some(foreign), "{first:?}");
        }
        assert_eq!(ForeignProtocol::of(b"GE"), None, "not enough to tell");
    }

    /// A packet is never taken for another protocol, whatever its length.
    #[test]
    fn no_packet_is_taken_for_another_protocol() {
        for kind in [0, 1, 16, 32] {
            for request_id in [0, i64::MAX] {
                let input = pb::Input {
                    r#type: kind,
                    request_id,
                    data: vec![7; 40].into(),
                };
                let body = input.encode_to_vec();
                for length in 0..=u16::MAX {
                    let mut first = length.to_be_bytes().to_vec();
                    first.extend(body.iter().take(LEAST));
                    assert_eq!(ForeignProtocol::of(&first), None, "{first:?}");
                }
            }
        }
    }

    #[test]
    fn a_go_away_is_two_whole_frames() {
        let answer = ForeignProtocol::Http2.answer("hello");
        assert_eq!(&answer[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert_eq!(&answer[9..18], [0, 0, 13, 7, 0, 0, 0, 0, 0]);
        assert_eq!(answer.len(), 18 + 13);
        assert!(answer.ends_with(b"hello"));
    }
}
