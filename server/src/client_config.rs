//! The server that the commands for operators call if they are given no other: its address, and a
//! key.

use gimlet_cli::ConfiguredServer;
use gimlet_server::Config;
use gimlet_server::tools::{api_url, operator_access, ops_url};

/// Returns the server that has this configuration, as it is called from its own machine: the running
/// one if it can be asked, else as the configuration describes it.
pub(crate) fn configured_server(config: &Config) -> ConfiguredServer {
    if let Some(access) = operator_access(config) {
        return ConfiguredServer {
            url: Some(access.url),
            api_key: Some(access.key.reveal().to_owned()),
        };
    }
    // Port 0 is known to the running server only.
    let addr = config.opened().http.filter(|addr| addr.port() != 0);
    let first = config.http.api_keys.first();
    ConfiguredServer {
        url: addr.map(|addr| api_url(config, addr)),
        api_key: first.map(|key| key.reveal().to_owned()),
    }
}

/// Returns the address of the ops listener of this configuration; `None` if it opens none, or on a
/// port of the system's choice.
pub(crate) fn configured_ops(config: &Config) -> Option<String> {
    let addr = config.opened().ops.filter(|addr| addr.port() != 0);
    addr.map(|addr| ops_url(config, addr))
}

#[cfg(test)]
mod tests {
    use gimlet_server::config::{ListenerName, SecretString, StorageKind};

    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.storage.kind = StorageKind::Memory;
        config
    }

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
            let mut config = config();
            config.listen.http = listen.parse().ok();
            assert_eq!(configured_server(&config).url.as_deref(), url, "{listen}");
            config.listen.ops = listen.parse().ok();
            assert_eq!(configured_ops(&config).as_deref(), url, "{listen}");
        }
    }

    #[test]
    fn tls_and_the_first_key_are_those_of_the_configuration() {
        let mut config = config();
        config.tls.cert = Some("cert.pem".into());
        config.tls.key = Some("key.pem".into());
        config.http.api_keys = vec![SecretString::new("first"), SecretString::new("second")];
        let server = configured_server(&config);
        assert_eq!(server.url.as_deref(), Some("https://127.0.0.1:8085"));
        assert_eq!(server.api_key.as_deref(), Some("first"));
        let ops = |config: &Config| configured_ops(config).unwrap();
        assert_eq!(ops(&config), "http://127.0.0.1:8086");
        config.tls.listeners.push(ListenerName::Ops);
        assert_eq!(ops(&config), "https://127.0.0.1:8086");
    }
}
