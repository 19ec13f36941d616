//! A Redis whose current master is named by Sentinels.
//!
//! Its address is `redis+sentinel://user:password@host:26379,host:26379/service/0`; with
//! `rediss+sentinel://`, the connections to the servers and to the Sentinels use TLS. The account in
//! front of the hosts is the one of the Redis servers; the account of the Sentinels follows as
//! `?sentinel_username=…&sentinel_password=…`.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisError, RedisResult, TlsCertificates, TlsMode,
};

/// Default port of a Sentinel.
const SENTINEL_PORT: u16 = 26_379;

/// Addresses of the Sentinels, and the service that they watch.
#[derive(Clone)]
pub(super) struct SentinelAddress {
    sentinels: Vec<(String, u16)>,
    service: String,
    /// Account and database of the Redis servers.
    server: ConnectionInfo,
    /// Username and password for the Sentinels.
    account: (Option<String>, Option<String>),
    certificates: Option<TlsCertificates>,
    tls: bool,
}

impl fmt::Debug for SentinelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelAddress")
            .field("sentinels", &self.sentinels)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn wrong(text: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, text))
}

impl SentinelAddress {
    /// Parses an address; returns `None` if it is not a Sentinel address.
    pub(super) fn parse(
        url: &str,
        certificates: Option<&TlsCertificates>,
    ) -> RedisResult<Option<Self>> {
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Ok(None);
        };
        let tls = match scheme {
            "redis+sentinel" => false,
            "rediss+sentinel" => true,
            _ => return Ok(None),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (account, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, database) = path.split_once('/').unwrap_or((path, "0"));
        if service.is_empty() {
            return Err(wrong(
                "the service name is missing after the Sentinels: write redis+sentinel://host/service",
            ));
        }
        let sentinels = hosts.split(',').map(|host| sentinel(host.trim()));
        let sentinels = sentinels.collect::<RedisResult<Vec<_>>>()?;
        // The account may contain percent escapes. The parser of redis for the address of a single
        // server decodes them, so it is given an address with this account.
        let single_server = |account: &str, database: &str| {
            format!("redis://{account}@localhost/{database}").into_connection_info()
        };
        let mut account_of_sentinels = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Read as a password, so that it is decoded in the same way.
            let decoded = single_server(&format!(":{value}"), "0")?;
            let value = decoded.redis_settings().password().map(str::to_owned);
            match name {
                "sentinel_username" => account_of_sentinels.0 = value,
                "sentinel_password" => account_of_sentinels.1 = value,
                _ => {
                    return Err(wrong(
                        "only sentinel_username and sentinel_password are allowed after the ?",
                    ));
                }
            }
        }
        Ok(Some(Self {
            sentinels,
            service: service.to_owned(),
            server: single_server(account, database)?,
            account: account_of_sentinels,
            certificates: certificates.filter(|_| tls).cloned(),
            tls,
        }))
    }

    /// Returns a client that asks the Sentinels for the master whenever it connects.
    pub(super) fn client(&self, protocol: ProtocolVersion) -> RedisResult<SentinelClient> {
        let sentinels = self.sentinels.iter().map(|(host, port)| {
            if self.tls {
                ConnectionAddr::TcpTls {
                    host: host.clone(),
                    port: *port,
                    insecure: false,
                    tls_params: None,
                }
            } else {
                ConnectionAddr::Tcp(host.clone(), *port)
            }
        });
        let tcp = TcpSettings::default().set_nodelay(true);
        let server = self.server.redis_settings();
        let master = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(sentinels, self.service.clone(), master)?
            .set_client_to_redis_db(server.db())
            .set_client_to_redis_protocol(protocol)
            .set_client_to_redis_tcp_settings(tcp.clone())
            .set_client_to_sentinel_tcp_settings(tcp);
        if let Some(username) = server.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = server.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = &self.account.0 {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = &self.account.1 {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }
}

fn sentinel(host: &str) -> RedisResult<(String, u16)> {
    let (name, port) = match host.rsplit_once(':') {
        // `::1` contains colons itself; with a port it is written in brackets.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            let port = port
                .parse()
                .map_err(|_| wrong("a Sentinel's port is not a number"))?;
            (name, port)
        }
        _ => (host, SENTINEL_PORT),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        return Err(wrong("a Sentinel's host is missing"));
    }
    Ok((name.to_owned(), port))
}

/// Connection to the current master, shared by all calls.
pub(super) struct MasterConnection {
    /// Asks the Sentinels and connects. Locked meanwhile, so that calls which find no connection
    /// make a single one.
    client: tokio::sync::Mutex<SentinelClient>,
    conn: Mutex<Option<MultiplexedConnection>>,
    settings: AsyncConnectionConfig,
}

impl MasterConnection {
    pub(super) fn new(address: &SentinelAddress, deadline: Duration) -> RedisResult<Self> {
        Ok(Self {
            client: tokio::sync::Mutex::new(address.client(ProtocolVersion::RESP2)?),
            conn: Mutex::default(),
            settings: AsyncConnectionConfig::new()
                .set_connection_timeout(Some(deadline))
                .set_response_timeout(Some(deadline)),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the existing connection, or connects to the server that the Sentinels name.
    pub(super) async fn conn(&self) -> RedisResult<MultiplexedConnection> {
        if let Some(conn) = self.lock().clone() {
            return Ok(conn);
        }
        let mut client = self.client.lock().await;
        // Another call may have connected while this one waited for the lock.
        if let Some(conn) = self.lock().clone() {
            return Ok(conn);
        }
        let conn = client
            .get_async_connection_with_config(&self.settings)
            .await?;
        *self.lock() = Some(conn.clone());
        Ok(conn)
    }

    /// Drops the connection, so that the next call asks the Sentinels again.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> SentinelAddress {
        SentinelAddress::parse(url, None).unwrap().unwrap()
    }

    #[test]
    fn an_address_names_sentinels_service_account_and_database() {
        let url = "redis+sentinel://gim:p%40ss@a,b:26380,[::1]:7/mymaster/3\
                   ?sentinel_password=s%2Fecret";
        let it = parse(url);
        let sentinels = [("a", 26_379), ("b", 26_380), ("::1", 7)];
        let sentinels = sentinels.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(it.sentinels, sentinels);
        assert_eq!((it.service.as_str(), it.tls), ("mymaster", false));
        let server = it.server.redis_settings();
        assert_eq!(
            (server.username(), server.password(), server.db()),
            (Some("gim"), Some("p@ss"), 3)
        );
        assert_eq!(it.account, (None, Some("s/ecret".into())));
        assert!(!format!("{it:?}").contains("ecret"));
        assert!(parse("rediss+sentinel://a/m").tls);
        assert!(it.client(ProtocolVersion::RESP3).is_ok());
    }

    #[test]
    fn other_addresses_are_not_of_sentinels_and_wrong_ones_say_why() {
        assert!(
            SentinelAddress::parse("redis://a/0", None)
                .unwrap()
                .is_none()
        );
        for (url, word) in [
            ("redis+sentinel://a", "service"),
            ("redis+sentinel://a:b/m", "port"),
            ("redis+sentinel:///m", "host"),
            ("redis+sentinel://a/m?x=1", "sentinel_password"),
        ] {
            let text = SentinelAddress::parse(url, None).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
