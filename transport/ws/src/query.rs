//! Reads the sign-in that some clients put into the WebSocket's URL.

use gimlet_transport::{SignInSource, UrlSignIn};

/// Reads `user_id`, `device_id`, `token` and `request_id` from a URL's query. If one of the first
/// three is missing, the client signs in with a packet. Other parameters are ignored.
pub(crate) fn greeting(query: Option<&str>) -> SignInSource {
    let mut sign_in = UrlSignIn::default();
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "user_id" => sign_in.user_id = decode(value),
            "device_id" => sign_in.device_id = decode(value),
            "token" => sign_in.token = decode(value),
            "request_id" => sign_in.request_id = Some(decode(value)),
            _ => {}
        }
    }
    if [&sign_in.user_id, &sign_in.device_id, &sign_in.token]
        .iter()
        .any(|v| v.is_empty())
    {
        return SignInSource::BySignIn;
    }
    SignInSource::FromUrl(Box::new(sign_in))
}

/// Decodes percent-encoding and `+` for a space; invalid UTF-8 becomes U+FFFD.
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    bytes.push(high << 4 | low);
                    rest = after;
                } else {
                    bytes.push(b'%');
                }
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_sign_in_and_less_does_not() {
        let SignInSource::FromUrl(sign_in) = greeting(Some(
            "user_id=2&device_id=7&token=a%2Bb+%zz%E4%BD%A0&request_id=9&x",
        )) else {
            panic!("all three are there");
        };
        assert_eq!(sign_in.user_id, "2");
        assert_eq!(sign_in.device_id, "7");
        assert_eq!(sign_in.token, "a+b %zz你");
        assert_eq!(sign_in.request_id.as_deref(), Some("9"));
        assert!(
            !format!("{sign_in:?}").contains("a+b"),
            "a token is never printed"
        );
        for query in [
            None,
            Some(""),
            Some("user_id=2&device_id=7"),
            Some("token=&user_id=1&device_id=1"),
        ] {
            assert!(
                matches!(greeting(query), SignInSource::BySignIn),
                "{query:?}"
            );
        }
    }
}
