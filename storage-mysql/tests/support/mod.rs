//! Creates a database and a Redis prefix for each test, on the servers that the environment names:
//! `GIMLET_TEST_MYSQL` and `GIMLET_TEST_REDIS`; `tests/backends/with` starts both.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test program uses a part of this"
)]

use std::sync::Arc;

use gimlet_core::time::{SystemClock, TimeSource};
use gimlet_storage_mysql::{Config, OpenedStores, migrate, open};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, Row as _};

/// Explains how to start the servers.
pub(crate) const MISSING: &str = "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it with \
                           tests/backends/with, which starts both servers";

/// Addresses of the two servers.
#[derive(Clone, Debug)]
pub(crate) struct ServerUrls {
    pub(crate) mysql: String,
    pub(crate) redis: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told where the servers are"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

/// Returns the servers of the environment, if both are set.
pub(crate) fn servers() -> Option<ServerUrls> {
    Some(ServerUrls {
        mysql: variable("GIMLET_TEST_MYSQL")?,
        redis: variable("GIMLET_TEST_REDIS")?,
    })
}

/// Returns whether missing servers are a failure.
pub(crate) fn required() -> bool {
    variable("GIMLET_TEST_REQUIRE_BACKENDS").is_some_and(|it| it == "1")
}

/// A separate database; dropping this drops the database.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    server: String,
    name: String,
    pub(crate) config: Config,
}

impl TestDatabase {
    /// Creates and migrates a database.
    pub(crate) async fn new(servers: &ServerUrls) -> Self {
        let name = format!("gimlet_test_{:016x}", rand::random::<u64>());
        let mut conn = MySqlConnection::connect(&servers.mysql).await.unwrap();
        let sql = format!("CREATE DATABASE {name}");
        let create = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        create.execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let mut config = Config::new(url(&servers.mysql, &name), servers.redis.clone());
        config.redis.prefix = format!("{name}:");
        config.mysql.relaxed_durability = true;
        migrate(&config.mysql).await.unwrap();
        Self {
            server: servers.mysql.clone(),
            name,
            config,
        }
    }

    /// Returns the name of its database.
    pub(crate) fn database(&self) -> String {
        self.name.clone()
    }

    /// Connects to its database with all privileges.
    pub(crate) async fn admin(&self) -> AdminConnection {
        let url = url(&self.server, &self.name);
        AdminConnection(MySqlConnection::connect(&url).await.unwrap())
    }

    /// Opens the storage.
    pub(crate) async fn open(&self) -> OpenedStores {
        self.open_at(Arc::new(SystemClock)).await
    }

    /// Opens the storage with a clock.
    pub(crate) async fn open_at(&self, clock: Arc<dyn TimeSource>) -> OpenedStores {
        open(&self.config, clock).await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Not on the test's runtime, which may be shutting down.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                if let Ok(mut conn) = MySqlConnection::connect(&server).await {
                    let sql = format!("DROP DATABASE {name}");
                    let drop = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
                    let _ = drop.execute(&mut conn).await;
                }
            });
        });
        let _ = dropping.join();
    }
}

/// A connection with all privileges.
#[derive(Debug)]
pub(crate) struct AdminConnection(pub(crate) MySqlConnection);

impl AdminConnection {
    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0);
        done.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Reads one value.
    pub(crate) async fn value(&mut self, sql: &str) -> String {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let row = self.0.fetch_one(query).await;
        let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.try_get_unchecked(0).unwrap()
    }
}

/// Returns the address with another database.
pub(crate) fn url(server: &str, database: &str) -> String {
    let (base, query) = server.split_once('?').unwrap_or((server, ""));
    let (host, _) = base.rsplit_once('/').unwrap();
    format!("{host}/{database}?{query}")
}
