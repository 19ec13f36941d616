//! One connection: its address, TLS, and the session settings that every connection has before its
//! first use.

use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, Connection as _, MySqlConnection};
use tokio::time::{Instant, timeout, timeout_at};

use super::settings::{self, ConnectionPurpose, ServerProperties, SessionSetupError};
use crate::config::MysqlConfig;
use crate::error::{EngineError, OpenError};

/// Largest number of prepared statements of one connection; some 250 texts occur.
pub(super) const MAX_PREPARED_STATEMENTS: usize = 250;

/// Runs a step of an opening. A server that freezes in the middle must not hang the start (law 12).
pub(crate) async fn opening_step<T>(
    allowed: Duration,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, OpenError> {
    let done = timeout(allowed, work).await;
    done.unwrap_or(Err(EngineError::Deadline))
        .map_err(|fault| OpenError::of_step(fault, allowed))
}

/// Opens connections to one address.
#[derive(Clone, Debug)]
pub(crate) struct MysqlConnector {
    options: MySqlConnectOptions,
    purpose: ConnectionPurpose,
    relaxed: bool,
    /// Deadline of a connection that is opened outside any call.
    patience: Duration,
}

impl MysqlConnector {
    pub(crate) fn new(config: &MysqlConfig, purpose: ConnectionPurpose) -> Result<Self, OpenError> {
        Ok(Self {
            options: options(config)?,
            purpose,
            relaxed: config.relaxed_durability,
            patience: config.slow_deadline,
        })
    }

    /// Connects for a call, with a cache of at most `statements` prepared statements.
    pub(super) async fn connect(
        &self,
        deadline: Instant,
        statements: usize,
    ) -> Result<(MySqlConnection, ServerProperties), EngineError> {
        let options = self.options.clone().statement_cache_capacity(statements);
        let connecting = async {
            let mut conn = options.connect().await.map_err(SessionSetupError::Mysql)?;
            match settings::settle(&mut conn, self.purpose, self.relaxed).await {
                Ok(facts) => Ok((conn, facts)),
                Err(error) => {
                    // With a closing message, so that a server that is refused again and again does
                    // not count aborted clients.
                    if matches!(error, SessionSetupError::Unfit(_)) {
                        let _ = conn.close().await;
                    }
                    Err(error)
                }
            }
        };
        let done: Result<_, SessionSetupError> = timeout_at(deadline, connecting)
            .await
            .map_err(|_| EngineError::Deadline)?;
        done.map_err(|error| match error {
            SessionSetupError::Mysql(error) => EngineError::Mysql(error),
            SessionSetupError::Unfit(unfit) => EngineError::Unfit(unfit),
        })
    }

    /// Connects at the start of the server, or for a migration.
    pub(crate) async fn open(&self) -> Result<(MySqlConnection, ServerProperties), OpenError> {
        let connecting = self.connect(Instant::now() + self.patience, MAX_PREPARED_STATEMENTS);
        let failed = |fault| OpenError::of_step(fault, self.patience);
        connecting.await.map_err(failed)
    }
}

/// Parameters that an address may have after the `?`; sqlx ignores any other.
const URL_PARAMETERS: &[&str] = &[
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "socket",
    // Accepted, but overridden by the session settings.
    "charset",
    "collation",
    "timezone",
    "time-zone",
    "statement-cache-capacity",
];

/// Refuses a parameter that sqlx would ignore: a misspelt `ssl-mode` would disable the verification
/// of the server's certificate.
fn check_parameters(url: &str) -> Result<(), OpenError> {
    let (_, query) = url.split_once('?').unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
        if !URL_PARAMETERS.contains(&name) {
            let text = format!(
                "the parameter {name} is not one of {}",
                URL_PARAMETERS.join(", ")
            );
            return Err(OpenError::MysqlAddress(sqlx::Error::Configuration(
                text.into(),
            )));
        }
    }
    Ok(())
}

/// Returns the options of a connection to this address.
fn options(config: &MysqlConfig) -> Result<MySqlConnectOptions, OpenError> {
    check_parameters(&config.url)?;
    let mut options =
        MySqlConnectOptions::from_str(&config.url).map_err(OpenError::MysqlAddress)?;
    // A URL spells an IPv6 address `[::1]`; the resolver needs it without the brackets.
    let host = options.get_host();
    if let Some(address) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        let address = address.to_owned();
        options = options.host(&address);
    }
    if let Some(file) = &config.ca {
        options = options.ssl_ca(file);
        // A CA that is configured is meant to be verified, unless the address says otherwise.
        if !config.url.contains("ssl-mode=") && !config.url.contains("sslmode=") {
            options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
        }
    }
    Ok(options
        // `settings` sets all of these, in the same way for every server.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None::<String>)
        .set_names(false)
        .disable_statement_logging())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> String {
        let options = options(&MysqlConfig::new(url)).unwrap();
        options.get_host().to_owned()
    }

    #[test]
    fn the_brackets_of_an_ipv6_address_are_not_part_of_it() {
        assert_eq!(host("mysql://u:p@[::1]:3306/db"), "::1");
        assert_eq!(host("mysql://u:p@[2001:db8::1]/db"), "2001:db8::1");
        assert_eq!(host("mysql://u:p@127.0.0.1/db"), "127.0.0.1");
        assert_eq!(host("mysql://u:p@db.example/db"), "db.example");
    }

    #[test]
    fn a_named_ca_is_checked_unless_the_address_says_otherwise() {
        let mode = |url: &str| {
            let mut config = MysqlConfig::new(url);
            config.ca = Some("/etc/ca.pem".into());
            let url = options(&config).unwrap().to_url_lossy().to_string();
            let (_, mode) = url.split_once("ssl-mode=").unwrap();
            mode.split('&').next().unwrap().to_owned()
        };
        assert_eq!(mode("mysql://h/db"), "VERIFY_IDENTITY");
        assert_eq!(mode("mysql://h/db?ssl-mode=VERIFY_CA"), "VERIFY_CA");
    }
}
