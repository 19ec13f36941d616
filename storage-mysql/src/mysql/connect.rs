//! One connection: the address, TLS, and the settings that every connection has before its use.

use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, MySqlConnection};
use tokio::time::{Instant, timeout_at};

use super::settings::{self, Purpose, ServerFacts, SettleError};
use crate::config::MysqlConfig;
use crate::error::{Fault, OpenError};

/// Prepared statements of one connection, at most; some 250 texts occur.
pub(super) const MAX_STATEMENTS: usize = 250;

/// How long a connection may take where nobody's call waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes connections to one address.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    options: MySqlConnectOptions,
    purpose: Purpose,
    relaxed: bool,
}

impl Connector {
    pub(crate) fn new(config: &MysqlConfig, purpose: Purpose) -> Result<Self, OpenError> {
        Ok(Self {
            options: options(config)?,
            purpose,
            relaxed: config.relaxed_durability,
        })
    }

    /// Connects for a call; keeps at most so many prepared statements.
    pub(super) async fn connect(
        &self,
        deadline: Instant,
        statements: usize,
    ) -> Result<(MySqlConnection, ServerFacts), Fault> {
        let options = self.options.clone().statement_cache_capacity(statements);
        let connecting = async {
            let mut conn = options.connect().await.map_err(SettleError::Mysql)?;
            let facts = settings::settle(&mut conn, self.purpose, self.relaxed).await?;
            Ok((conn, facts))
        };
        let done: Result<_, SettleError> = timeout_at(deadline, connecting)
            .await
            .map_err(|_| Fault::Deadline)?;
        done.map_err(|error| match error {
            SettleError::Mysql(error) => Fault::Mysql(error),
            SettleError::Unfit(unfit) => Fault::Unfit(unfit),
        })
    }

    /// Connects where an operator waits: at the start, and for a migration.
    pub(crate) async fn open(&self) -> Result<MySqlConnection, OpenError> {
        let connecting = self.connect(Instant::now() + PATIENCE, MAX_STATEMENTS);
        let (conn, _) = connecting.await.map_err(OpenError::from_connecting)?;
        Ok(conn)
    }
}

/// What may stand behind the `?` of the address; sqlx passes over anything else.
const PARAMETERS: &[&str] = &[
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "socket",
    // Taken, and overruled by the settings of every session.
    "charset",
    "collation",
    "timezone",
    "time-zone",
    "statement-cache-capacity",
];

/// Refuses a parameter that would be passed over: a misspelt `ssl-mode` would turn the check of the
/// server's certificate off.
fn check_parameters(url: &str) -> Result<(), OpenError> {
    let (_, query) = url.split_once('?').unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
        if !PARAMETERS.contains(&name) {
            let text = format!(
                "the parameter {name} is not one of {}",
                PARAMETERS.join(", ")
            );
            return Err(OpenError::MysqlAddress(sqlx::Error::Configuration(
                text.into(),
            )));
        }
    }
    Ok(())
}

/// The options of a connection to this address.
fn options(config: &MysqlConfig) -> Result<MySqlConnectOptions, OpenError> {
    check_parameters(&config.url)?;
    let mut options =
        MySqlConnectOptions::from_str(&config.url).map_err(OpenError::MysqlAddress)?;
    // `[::1]` is how a URL spells an IPv6 address; the resolver wants it without the brackets.
    let host = options.get_host();
    if let Some(address) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        let address = address.to_owned();
        options = options.host(&address);
    }
    if let Some(file) = &config.ca {
        options = options.ssl_ca(file);
        // A CA that is named is meant to be checked, unless the address says otherwise.
        if !config.url.contains("ssl-mode=") && !config.url.contains("sslmode=") {
            options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
        }
    }
    Ok(options
        // All of these are set by `settings`, for every server alike.
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
