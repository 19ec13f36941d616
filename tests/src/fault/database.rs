//! A database of one's own on a server, and the server asked by hand.

#![expect(
    clippy::unwrap_used,
    reason = "a server that does not answer should panic"
)]

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};
use tokio::runtime::Builder;

/// A connection.
#[derive(Debug)]
pub struct Sql(MySqlConnection);

impl Sql {
    /// Connects.
    pub async fn connect(url: &str) -> Self {
        Self(MySqlConnection::connect(url).await.unwrap())
    }

    /// Runs a statement, or several; the server's error if it has one.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn tries(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        query.execute(&mut self.0).await.map(drop)
    }

    /// Runs a statement, or several.
    pub async fn runs(&mut self, sql: &str) {
        let done = self.tries(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The rows of a query.
    pub async fn rows(&mut self, sql: &str) -> Vec<MySqlRow> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.fetch_all(&mut self.0).await.unwrap()
    }

    /// The one number that a query gives, or `None` if there is no row.
    pub async fn number(&mut self, sql: &str) -> Option<i64> {
        let rows = self.rows(sql).await;
        rows.first().map(|row| row.try_get_unchecked(0).unwrap())
    }

    /// How many deadlocks the server has seen.
    pub async fn deadlocks(&mut self) -> u64 {
        let rows = self
            .rows("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
            .await;
        let count: String = rows.first().unwrap().get(1);
        count.parse().unwrap()
    }
}

/// A database; it is dropped with this.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    /// Its address.
    pub url: String,
}

impl Database {
    /// An empty database on this server.
    pub async fn new(server: &str) -> Self {
        let name = format!("gimlet_fault_{:016x}", rand::random::<u64>());
        let mut sql = Sql::connect(server).await;
        sql.runs(&format!("CREATE DATABASE {name}")).await;
        let (host, _) = server.rsplit_once('/').expect("an address with a database");
        Self {
            server: server.to_owned(),
            url: format!("{host}/{name}"),
            name,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Not on the test's runtime: that one may be going down.
        let dropping = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut sql = Sql::connect(&server).await;
                let _ = sql.tries(&format!("DROP DATABASE {name}")).await;
            });
        });
        let _ = dropping.join();
    }
}
