//! The parts of a configuration that the commands for operators use: the server's address, and a key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gimlet_cli::ConfiguredServer;
use gimlet_server::Config;
use gimlet_server::config::ListenerName;

/// Returns the server that has this configuration, as it is called from its own machine.
pub(crate) fn configured_server(config: &Config) -> ConfiguredServer {
    // Port 0 is known to the running server only.
    let addr = config.opened().http.filter(|addr| addr.port() != 0);
    let scheme = if config.encrypted().contains(&ListenerName::Http) {
        "https"
    } else {
        "http"
    };
    let first = config.http.api_keys.first();
    ConfiguredServer {
        url: addr.map(|addr| format!("{scheme}://{}", reachable(addr))),
        api_key: first.map(|key| key.reveal().to_owned()),
    }
}

/// Returns the address by which a listener is reached: the one of loopback if it listens on all.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use gimlet_server::config::SecretString;

    use super::*;

    #[test]
    fn a_server_is_called_where_it_listens() {
        for (listen, url) in [
            ("127.0.0.1:8085", Some("http://127.0.0.1:8085")),
            ("0.0.0.0:80", Some("http://127.0.0.1:80")),
            ("[::]:80", Some("http://[::1]:80")),
            ("10.1.2.3:80", Some("http://10.1.2.3:80")),
            ("127.0.0.1:0", None),
            ("off", None),
        ] {
            let mut config = Config::default();
            config.listen.http = listen.parse().ok();
            assert_eq!(configured_server(&config).url.as_deref(), url, "{listen}");
        }
    }

    #[test]
    fn tls_and_the_first_key_are_those_of_the_configuration() {
        let mut config = Config::default();
        config.tls.cert = Some("cert.pem".into());
        config.tls.key = Some("key.pem".into());
        config.http.api_keys = vec![SecretString::new("first"), SecretString::new("second")];
        let server = configured_server(&config);
        assert_eq!(server.url.as_deref(), Some("https://127.0.0.1:8085"));
        assert_eq!(server.api_key.as_deref(), Some("first"));
    }
}
