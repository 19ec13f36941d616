//! Recognises variables that Kubernetes and Docker put into a container beside a service named
//! gimlet.
//!
//! For a service `gimlet` every pod of the namespace gets `GIMLET_SERVICE_HOST`, `GIMLET_PORT` and
//! so on, and for `gimlet-connect` the same after `GIMLET_CONNECT_`. They look like gimlet's keys
//! but are not.

/// Returns whether this variable is a service link. `GIMLET_PORT=8080`, written by hand, is not
/// one: it is a mistake that must be reported.
pub(super) fn is_one(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("GIMLET_") else {
        return false;
    };
    let is_url = || {
        value
            .split_once("://")
            .is_some_and(|(scheme, _)| is_protocol(scheme))
    };
    let is_number = || value.parse::<u16>().is_ok();
    if let Some(end) = after(rest, "SERVICE_") {
        return match end.split_once('_').map_or(end, |(first, _)| first) {
            "HOST" => end == "HOST",
            "PORT" => is_number(),
            _ => false,
        };
    }
    let Some(end) = after(rest, "PORT") else {
        // Docker's old links also contain the other container's name.
        return rest == "NAME" && value.starts_with('/');
    };
    if end.is_empty() {
        return is_url();
    }
    // _8080_TCP, and after it _PROTO, _PORT or _ADDR.
    let parts: Vec<_> = end.split('_').collect();
    match parts.as_slice() {
        ["", port, protocol] => port.parse::<u16>().is_ok() && is_protocol(protocol) && is_url(),
        ["", port, protocol, "PROTO" | "PORT" | "ADDR"] => {
            port.parse::<u16>().is_ok() && is_protocol(protocol)
        }
        _ => false,
    }
}

/// Returns the text after `word`, where `word` begins the text or follows the rest of a service's
/// name.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix(word) {
        return Some(rest);
    }
    let at = text.find(&format!("_{word}"))?;
    text.get(at + 1 + word.len()..)
}

fn is_protocol(word: &str) -> bool {
    ["tcp", "udp", "sctp"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_service_are_known_by_name_and_value() {
        for (name, value) in [
            ("GIMLET_SERVICE_HOST", "10.0.171.239"),
            ("GIMLET_SERVICE_PORT", "8080"),
            ("GIMLET_SERVICE_PORT_TCP", "8080"),
            ("GIMLET_PORT", "tcp://10.0.171.239:8080"),
            ("GIMLET_PORT_8080_TCP", "tcp://10.0.171.239:8080"),
            ("GIMLET_PORT_8080_TCP_PROTO", "tcp"),
            ("GIMLET_PORT_8080_TCP_PORT", "8080"),
            ("GIMLET_PORT_8080_TCP_ADDR", "10.0.171.239"),
            ("GIMLET_CONNECT_SERVICE_HOST", "10.0.0.1"),
            ("GIMLET_CONNECT_PORT_50100_UDP_ADDR", "10.0.0.1"),
            ("GIMLET_NAME", "/shop/gimlet"),
        ] {
            assert!(is_one(name, value), "{name}={value}");
        }
    }

    #[test]
    fn mistakes_and_keys_are_no_links() {
        for (name, value) in [
            ("GIMLET_PORT", "8080"),
            ("GIMLET_SERVICE_PORT", "http"),
            ("GIMLET_SERVICE_HOSTS", "a"),
            ("GIMLET_LISTEN__TCP", "tcp://0.0.0.0:8080"),
            ("GIMLET_DATA_DIR", "/data"),
            ("GIMLET_NAME", "gimlet"),
            ("GIMLET_PORT_8080_HTTP", "tcp://10.0.0.1:8080"),
        ] {
            assert!(!is_one(name, value), "{name}={value}");
        }
    }
}
