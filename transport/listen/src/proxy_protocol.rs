//! The PROXY protocol, versions 1 and 2: a header by which a proxy names the client's address.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. The parser is strict, and never
//! guesses: whether a header must be there is decided by the listener's settings and by the peer's
//! address, before a byte is read. Pure functions over bytes, and one reader.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// First bytes of version 2.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// First bytes of version 1.
const V1_PREFIX: &[u8; 6] = b"PROXY ";
/// Longest line of version 1, with its end (section 2.1).
const V1_MAX: usize = 107;
/// Shortest line of version 1: `PROXY UNKNOWN\r\n`.
const V1_MIN: usize = 15;
/// Bytes of version 2 in front of its addresses.
const V2_HEAD: usize = 16;
/// Longest header of version 2 that is read: addresses, and extensions (TLVs) such as a client
/// certificate's name. What a proxy sends is some hundred bytes.
const V2_MAX: usize = 4_096;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its bytes.
    pub length: usize,
    /// The client's address; `None` if the connection is the proxy's own (a health check) or the
    /// proxy does not know the address.
    pub client: Option<SocketAddr>,
}

/// Reasons that a header is refused.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are those of another protocol.
    #[error("the connection does not begin with a PROXY header; turn it on in the proxy")]
    Missing,
    /// A header that breaks the rules.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// The connection ended in the header.
    #[error("the connection ended inside the PROXY header")]
    Ended,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads a header from its first bytes; `None` if more of them are needed.
///
/// # Errors
/// The bytes begin no header.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    if begins(bytes, V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins(bytes, V1_PREFIX) {
        return parse_v1(bytes);
    }
    Err(HeaderError::Missing)
}

/// Returns whether `bytes` and `prefix` agree as far as both go.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(one, other)| one == other)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    let line = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX {
            Ok(None)
        } else {
            Err(HeaderError::Malformed("its line is over 107 bytes"))
        };
    };
    let text = line.get(..end).unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| HeaderError::Malformed("it is not ASCII"))?;
    let mut words = text.split(' ').skip(1);
    let client = match words.next() {
        // The rest of the line is ignored (section 2.1).
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => Some(v1_client(family, words)?),
        _ => {
            return Err(HeaderError::Malformed(
                "its protocol is not TCP4, TCP6 or UNKNOWN",
            ));
        }
    };
    let length = end + 2;
    Ok(Some(ProxyHeader { length, client }))
}

/// Reads `192.0.2.1 192.0.2.2 5000 443`.
fn v1_client<'a>(
    family: &str,
    mut words: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, HeaderError> {
    const WRONG: HeaderError =
        HeaderError::Malformed("it does not have two addresses and two ports");
    let mut address = || -> Option<IpAddr> {
        let text = words.next()?;
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            _ => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        }
    };
    let (client, server) = (address(), address());
    let mut port = || -> Option<u16> {
        // `parse` alone would take "+1".
        let text = words
            .next()
            .filter(|it| it.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse().ok()
    };
    let (client_port, server_port) = (port(), port());
    match (client, server, client_port, server_port, words.next()) {
        (Some(ip), Some(_), Some(port), Some(_), None) => Ok(SocketAddr::new(ip, port)),
        _ => Err(WRONG),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    let Some([version_command, family, high, low]) = bytes.get(12..V2_HEAD) else {
        return Ok(None);
    };
    if version_command >> 4 != 2 {
        return Err(HeaderError::Malformed("its version is not 2"));
    }
    let length = V2_HEAD + usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_MAX {
        return Err(HeaderError::Malformed("it is over 4096 bytes"));
    }
    let Some(body) = bytes.get(V2_HEAD..length) else {
        return Ok(None);
    };
    let client = match version_command & 0xf {
        // LOCAL: the proxy's own connection, whatever the rest says.
        0 => None,
        1 => v2_client(*family, body)?,
        _ => {
            return Err(HeaderError::Malformed(
                "its command is neither LOCAL nor PROXY",
            ));
        }
    };
    Ok(Some(ProxyHeader { length, client }))
}

fn v2_client(family: u8, body: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    const SHORT: HeaderError = HeaderError::Malformed("its addresses are cut off");
    match family {
        // UNSPEC: the proxy does not know.
        0x00 => Ok(None),
        0x11 => {
            let (ip, rest) = body.split_first_chunk::<4>().ok_or(SHORT)?;
            // Client address, server address, client port, server port.
            let ports = rest.get(4..8).ok_or(SHORT)?;
            let port = ports.first_chunk::<2>().ok_or(SHORT)?;
            let port = u16::from_be_bytes(*port);
            Ok(Some(SocketAddr::new(Ipv4Addr::from(*ip).into(), port)))
        }
        0x21 => {
            let (ip, rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
            let ports = rest.get(16..20).ok_or(SHORT)?;
            let port = ports.first_chunk::<2>().ok_or(SHORT)?;
            let port = u16::from_be_bytes(*port);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), port)))
        }
        _ => Err(HeaderError::Malformed(
            "its client did not come by TCP over IP",
        )),
    }
}

/// Reads exactly the header from `stream`, and no byte after it.
///
/// # Errors
/// The header is missing or malformed, or the socket fails.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut bytes = Vec::with_capacity(V1_MAX);
    loop {
        if let Some(header) = parse(&bytes)? {
            return Ok(header.client);
        }
        let before = bytes.len();
        bytes.resize(before + missing(&bytes), 0);
        let read = stream
            .read(bytes.get_mut(before..).unwrap_or_default())
            .await?;
        bytes.truncate(before + read);
        if read == 0 {
            return Err(if before == 0 {
                HeaderError::Missing
            } else {
                HeaderError::Ended
            });
        }
    }
}

/// Returns a number of bytes, at least 1, that certainly belong to the header that begins with
/// `bytes`. No more may be read, because the bytes after the header belong to the client's
/// protocol.
fn missing(bytes: &[u8]) -> usize {
    let whole = if bytes.len() < V2_SIGNATURE.len() {
        // Both versions are longer.
        V2_SIGNATURE.len()
    } else if bytes.starts_with(V2_SIGNATURE) {
        match bytes.get(14..V2_HEAD) {
            Some([high, low]) => V2_HEAD + usize::from(u16::from_be_bytes([*high, *low])),
            _ => V2_HEAD,
        }
    } else if bytes.len() < V1_MIN {
        V1_MIN
    } else if bytes.ends_with(b"\r") {
        bytes.len() + 1
    } else {
        bytes.len() + 2
    };
    whole.saturating_sub(bytes.len()).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn samples() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 1, 187];
        let mut v6 = vec![0x20, 1, 0xd, 0xb8];
        v6.extend([0; 11]);
        v6.extend([1; 1 + 16]);
        v6.extend([0x13, 0x88, 1, 187]);
        let with_extension = [&v4[..], &[4, 0, 2, 7, 7]].concat();
        vec![
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n".to_vec(),
                Some("192.0.2.1:5000"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 5000 443\r\n".to_vec(),
                Some("[2001:db8::1]:5000"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 whatever\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.1:5000")),
            (v2(0x21, 0x11, &with_extension), Some("192.0.2.1:5000")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::1]:5000")),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0, b""), None),
            (v2(0x21, 0, b"abc"), None),
        ]
    }

    #[tokio::test]
    async fn headers_are_read_to_their_end_and_not_further() {
        for (header, client) in samples() {
            let client = client.map(|it| it.parse().unwrap());
            for cut in 0..header.len() {
                assert!(
                    matches!(parse(&header[..cut]), Ok(None)),
                    "{header:?} cut at {cut}"
                );
            }
            let whole = ProxyHeader {
                length: header.len(),
                client,
            };
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&bytes).unwrap(), Some(whole));
            let mut stream = &bytes[..];
            assert_eq!(read(&mut stream).await.unwrap(), client);
            assert_eq!(stream, b"GET / HTTP/1.1\r\n");
            assert!(matches!(
                read(&mut &header[..header.len() - 1]).await,
                Err(HeaderError::Ended)
            ));
        }
        assert!(matches!(
            read(&mut &b""[..]).await,
            Err(HeaderError::Missing)
        ));
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443 1\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 5000 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +500 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 256.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            long.as_str(),
        ] {
            let parsed = parse(line.as_bytes());
            assert!(matches!(parsed, Err(HeaderError::Malformed(_))), "{line:?}");
        }
        for header in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x11, &[0; 5_000]),
        ] {
            assert!(
                matches!(parse(&header), Err(HeaderError::Malformed(_))),
                "{header:?}"
            );
        }
        for other in [
            "GET / HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n",
            "proxy tcp4",
            "\r\n\r\nX",
        ] {
            assert!(
                matches!(parse(other.as_bytes()), Err(HeaderError::Missing)),
                "{other}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_refused(
            which in 0..3_usize,
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let prefix = [&b""[..], V1_PREFIX, V2_SIGNATURE][which];
            let bytes = [prefix, &rest].concat();
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.length <= bytes.len());
                // The same, whatever follows.
                let shorter = parse(&bytes[..header.length]).unwrap();
                prop_assert_eq!(shorter, Some(header));
            }
            let left = missing(&bytes);
            prop_assert!((1..=usize::from(u16::MAX) + V2_HEAD).contains(&left));
        }

        #[test]
        fn every_address_comes_through(ip: [u8; 4], port: u16, v6: [u8; 16]) {
            let (v4, v6) = (Ipv4Addr::from(ip), Ipv6Addr::from(v6));
            let line = format!("PROXY TCP4 {v4} 192.0.2.2 {port} 443\r\n");
            let client = parse(line.as_bytes()).unwrap().unwrap().client;
            prop_assert_eq!(client, Some(SocketAddr::new(v4.into(), port)));
            let line = format!("PROXY TCP6 {v6} ::1 {port} 443\r\n");
            let client = parse(line.as_bytes()).unwrap().unwrap().client;
            prop_assert_eq!(client, Some(SocketAddr::new(v6.into(), port)));
        }
    }
}
