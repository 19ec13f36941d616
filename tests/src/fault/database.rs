//! A private database on a shared server, and direct SQL queries to the server.

#![expect(
    clippy::unwrap_used,
    reason = "a server that does not answer should panic"
)]

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};
use tokio::runtime::Builder;

/// A connection to a MySQL server.
#[derive(Debug)]
pub struct SqlConnection(MySqlConnection);

impl SqlConnection {
    /// Connects to this address.
    pub async fn connect(url: &str) -> Self {
        Self(MySqlConnection::connect(url).await.unwrap())
    }

    /// Runs one statement or several and returns the server's error.
    ///
    /// # Errors
    /// The server refuses a statement.
    pub async fn tries(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        query.execute(&mut self.0).await.map(drop)
    }

    /// Runs one statement or several; an error panics.
    pub async fn runs(&mut self, sql: &str) {
        let done = self.tries(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Returns the rows of a query.
    pub async fn rows(&mut self, sql: &str) -> Vec<MySqlRow> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.fetch_all(&mut self.0).await.unwrap()
    }

    /// Returns the single number of a query's result, or `None` for an empty result.
    pub async fn number(&mut self, sql: &str) -> Option<i64> {
        let rows = self.rows(sql).await;
        rows.first().map(|row| row.try_get_unchecked(0).unwrap())
    }

    /// Returns the number of deadlocks that the server has counted.
    pub async fn deadlocks(&mut self) -> u64 {
        let rows = self
            .rows("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
            .await;
        let count: String = rows.first().unwrap().get(1);
        count.parse().unwrap()
    }
}

/// A database that is removed when it is dropped.
#[derive(Debug)]
pub struct TempDatabase {
    server: String,
    name: String,
    /// Address of the database.
    pub url: String,
}

impl TempDatabase {
    /// Creates an empty database on this server.
    pub async fn new(server: &str) -> Self {
        let name = format!("gimlet_fault_{:016x}", rand::random::<u64>());
        let mut sql = SqlConnection::connect(server).await;
        sql.runs(&format!("CREATE DATABASE {name}")).await;
        let (host, _) = server.rsplit_once('/').expect("an address with a database");
        Self {
            server: server.to_owned(),
            url: format!("{host}/{name}"),
            name,
        }
    }
}

impl Drop for TempDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Runs on its own thread: the test's runtime may be shutting down.
        let dropping = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut sql = SqlConnection::connect(&server).await;
                let _ = sql.tries(&format!("DROP DATABASE {name}")).await;
            });
        });
        let _ = dropping.join();
    }
}
