//! A database of its own for a run on `MySQL`, removed at its end.

use sqlx::{Connection as _, Executor as _, MySqlConnection};

use crate::LoadError;

/// A fresh database.
#[derive(Debug)]
pub(super) struct RunDatabase {
    server: String,
    name: String,
    /// URL of the database.
    pub(super) url: String,
    /// URL of Redis.
    pub(super) redis: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "test servers are named by GIMLET_TEST_…, which is not configuration"
)]
fn named(variable: &str) -> Result<String, LoadError> {
    std::env::var(variable).map_err(|_| {
        let why = format!(
            "{variable} does not name a server; `tests/backends/with COMMAND` runs a command with a \
             private MariaDB and Redis"
        );
        LoadError::new("--store mysql", why)
    })
}

/// Returns the URL of the server that the environment names.
pub(super) fn server() -> Result<String, LoadError> {
    named("GIMLET_TEST_MYSQL")
}

impl RunDatabase {
    /// Creates a database on the server that the environment names.
    pub(super) async fn make() -> Result<Self, LoadError> {
        let server = server()?;
        let redis = named("GIMLET_TEST_REDIS")?;
        let name = format!("gimlet_load_{:016x}", rand::random::<u64>());
        let base = server.rsplit_once('/').map_or(&*server, |split| split.0);
        let url = format!("{base}/{name}");
        let made = Self {
            server,
            name,
            url,
            redis,
        };
        made.run(format!("CREATE DATABASE {}", made.name)).await?;
        Ok(made)
    }

    /// Returns the prefix of its keys in Redis.
    pub(super) fn prefix(&self) -> String {
        format!("{}:", self.name)
    }

    async fn run(&self, sql: String) -> Result<(), LoadError> {
        let done = async {
            let mut conn = MySqlConnection::connect(&self.server).await?;
            conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
                .await?;
            conn.close().await
        };
        done.await
            .map_err(|error: sqlx::Error| LoadError::new("MySQL", error))
    }

    /// Removes the database.
    pub(super) async fn remove(&self) -> Result<(), LoadError> {
        self.run(format!("DROP DATABASE {}", self.name)).await
    }
}
