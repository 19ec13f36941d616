//! Frames in a byte stream: the client's half of gim's TCP framing and of WebSocket. Serves
//! [`super::ClientNet`]; knows nothing of packets.

use serde::{Deserialize, Serialize};

/// Framing of a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireFraming {
    /// Two bytes of length, big-endian.
    Tcp,
    /// One binary WebSocket message each.
    Ws,
    /// One JSON text in a WebSocket message each.
    Json,
    /// Server-sent events, until the end of an answer of HTTP/1.0.
    Events,
}

/// Item at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParsedItem<'a> {
    /// Body of a frame, and the length of the whole frame.
    Frame(&'a [u8], usize),
    /// Payload of a ping, to be sent back, and the length of the frame.
    Ping(&'a [u8], usize),
    /// Length of a frame to ignore.
    Skip(usize),
    /// Close by the peer, with this code.
    Close(u16),
    /// Incomplete item.
    Partial,
    /// Bytes that violate the framing.
    Broken(&'static str),
}

impl WireFraming {
    /// Appends the head of a frame whose body has `length` bytes. A client's WebSocket frames are
    /// masked; the mask is zero, which leaves the body as it is.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the narrower widths are chosen by the length"
    )]
    pub(super) fn head(self, out: &mut Vec<u8>, length: usize) {
        match (self, length) {
            (Self::Tcp, _) => out.extend_from_slice(&(length as u16).to_be_bytes()),
            // The client's side of an event stream has no frames.
            (Self::Events, _) => {}
            (Self::Ws | Self::Json, 0..=125) => {
                out.extend_from_slice(&[self.first(), 0x80 | length as u8, 0, 0, 0, 0]);
            }
            (Self::Ws | Self::Json, 126..=0xffff) => {
                out.extend_from_slice(&[self.first(), 0xfe]);
                out.extend_from_slice(&(length as u16).to_be_bytes());
                out.extend_from_slice(&[0; 4]);
            }
            (Self::Ws | Self::Json, _) => {
                out.extend_from_slice(&[self.first(), 0xff]);
                out.extend_from_slice(&(length as u64).to_be_bytes());
                out.extend_from_slice(&[0; 4]);
            }
        }
    }

    /// Returns the first byte of a whole WebSocket message with a frame.
    const fn first(self) -> u8 {
        match self {
            Self::Json => 0x81,
            Self::Tcp | Self::Ws | Self::Events => 0x82,
        }
    }

    /// Parses the item at the beginning of `bytes`.
    pub(super) fn find(self, bytes: &[u8]) -> ParsedItem<'_> {
        match self {
            Self::Tcp => {
                let Some((head, rest)) = bytes.split_first_chunk::<2>() else {
                    return ParsedItem::Partial;
                };
                let length = usize::from(u16::from_be_bytes(*head));
                rest.get(..length).map_or(ParsedItem::Partial, |body| {
                    ParsedItem::Frame(body, 2 + length)
                })
            }
            Self::Ws | Self::Json => websocket(bytes, self.first()).unwrap_or(ParsedItem::Partial),
            Self::Events => event(bytes).unwrap_or(ParsedItem::Partial),
        }
    }
}

/// Finds the end of an event, which is an empty line. A comment is skipped.
fn event(bytes: &[u8]) -> Option<ParsedItem<'_>> {
    let mut from = 0;
    loop {
        let line = from + bytes.get(from..)?.iter().position(|&byte| byte == b'\n')?;
        if bytes.get(line + 1) == Some(&b'\n') {
            let (event, whole) = (bytes.get(..line)?, line + 2);
            return Some(match event.first() {
                Some(b':') | None => ParsedItem::Skip(whole),
                Some(_) => ParsedItem::Frame(event, whole),
            });
        }
        from = line + 1;
    }
}

fn websocket(bytes: &[u8], frame: u8) -> Option<ParsedItem<'_>> {
    let [first, second] = *bytes.first_chunk::<2>()?;
    let (head, length) = match second {
        0..=125 => (2, usize::from(second)),
        126 => {
            let long: [u8; 2] = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(long)))
        }
        127 => {
            let long: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
            match usize::try_from(u64::from_be_bytes(long)) {
                Ok(length) if length <= 1 << 20 => (10, length),
                _ => return Some(ParsedItem::Broken("a WebSocket frame of more than 1 MiB")),
            }
        }
        128.. => return Some(ParsedItem::Broken("a masked WebSocket frame from a server")),
    };
    let body = bytes.get(head..head + length)?;
    let whole = head + length;
    Some(match first {
        first if first == frame => ParsedItem::Frame(body, whole),
        0x88 => ParsedItem::Close(
            body.first_chunk::<2>()
                .map_or(1005, |code| u16::from_be_bytes(*code)),
        ),
        0x89 => ParsedItem::Ping(body, whole),
        0x8a => ParsedItem::Skip(whole),
        _ => ParsedItem::Broken("a WebSocket frame of the other kind, or not whole"),
    })
}

/// Request for an upgrade to WebSocket, without the empty line at its end.
pub(super) const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// Header that asks for JSON.
pub(super) const JSON_PROTOCOL: &[u8] = b"Sec-WebSocket-Protocol: gimlet.json.v1\r\n";

/// Finds the end of the answer to the first request; `Err` if it was refused, `None` if the answer is
/// incomplete.
pub(super) fn upgraded(bytes: &[u8]) -> Option<Result<usize, String>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let accepted = [&b"HTTP/1.1 101"[..], b"HTTP/1.0 200", b"HTTP/1.1 200"];
    if accepted.iter().any(|status| bytes.starts_with(status)) {
        return Some(Ok(end));
    }
    let line = bytes.split(|&b| b == b'\r').next().unwrap_or_default();
    Some(Err(format!(
        "connection refused: {}",
        String::from_utf8_lossy(line)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_frames_only() {
        let tcp = [0, 3, 1, 2, 3, 0];
        assert_eq!(
            WireFraming::Tcp.find(&tcp),
            ParsedItem::Frame(&[1, 2, 3], 5)
        );
        for cut in 0..5 {
            assert_eq!(WireFraming::Tcp.find(&tcp[..cut]), ParsedItem::Partial);
        }
        let ws = [0x82, 3, 1, 2, 3, 0];
        assert_eq!(WireFraming::Ws.find(&ws), ParsedItem::Frame(&[1, 2, 3], 5));
        for cut in 0..5 {
            assert_eq!(WireFraming::Ws.find(&ws[..cut]), ParsedItem::Partial);
        }
        let mut long = vec![0x82, 126, 1, 0];
        long.resize(4 + 256, 7);
        assert_eq!(
            WireFraming::Ws.find(&long),
            ParsedItem::Frame(&[7; 256], 260)
        );
        assert_eq!(
            WireFraming::Ws.find(&[0x88, 2, 0x10, 0x04]),
            ParsedItem::Close(4100)
        );
        let events = b"id: 1\ndata: {}\n\n: ping\n\n";
        let first = WireFraming::Events.find(events);
        assert_eq!(first, ParsedItem::Frame(b"id: 1\ndata: {}", 16));
        assert_eq!(WireFraming::Events.find(&events[16..]), ParsedItem::Skip(8));
        for cut in 0..16 {
            assert_eq!(
                WireFraming::Events.find(&events[..cut]),
                ParsedItem::Partial
            );
        }
        assert!(matches!(
            WireFraming::Ws.find(&[0x82, 0x83]),
            ParsedItem::Broken(_)
        ));
    }

    #[test]
    fn an_upgrade_is_agreed_to_or_said_why_not() {
        let agreed = b"HTTP/1.1 101 Switching\r\nA: b\r\n\r\nx";
        assert_eq!(upgraded(agreed), Some(Ok(agreed.len() - 1)));
        assert_eq!(upgraded(&agreed[..20]), None);
        let refused = upgraded(b"HTTP/1.1 503 Full\r\n\r\n").unwrap();
        assert!(refused.unwrap_err().contains("503 Full"));
    }
}
