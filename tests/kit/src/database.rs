//! A private database on a shared server, and direct SQL queries to the server.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a server that does not answer should panic"
)]

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, Row as _};
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

    /// Returns the first value of a query's result as the server writes it in text.
    pub async fn value(&mut self, sql: &str) -> String {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let row = self.0.fetch_one(query).await;
        let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.try_get_unchecked(0).unwrap()
    }

    /// Returns the single number of a query's result, or `None` for an empty result.
    pub async fn number(&mut self, sql: &str) -> Option<i64> {
        let rows = self.rows(sql).await;
        rows.first().map(|row| row.try_get_unchecked(0).unwrap())
    }

    /// Returns a column of the first row of a query as text; empty if it is NULL.
    pub async fn text(
        &mut self,
        sql: &str,
        column: impl sqlx::ColumnIndex<sqlx::mysql::MySqlRow>,
    ) -> String {
        let rows = self.rows(sql).await;
        let row = rows.first().unwrap_or_else(|| panic!("{sql}: no row"));
        let value: Option<String> = row.try_get_unchecked(column).unwrap();
        value.unwrap_or_default()
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
    /// Name of the database.
    pub name: String,
    /// Address of the database.
    pub url: String,
}

impl TempDatabase {
    /// Creates an empty database on this server.
    pub async fn new(server: &str) -> Self {
        let name = format!("gimlet_test_{:016x}", rand::random::<u64>());
        let mut sql = SqlConnection::connect(server).await;
        sql.runs(&format!("CREATE DATABASE {name}")).await;
        Self {
            server: server.to_owned(),
            url: database_url(server, &name),
            name,
        }
    }
}

/// Returns the address of a server with another database.
#[must_use]
pub fn database_url(server: &str, database: &str) -> String {
    let (base, query) = server.split_once('?').unwrap_or((server, ""));
    let (host, _) = base.rsplit_once('/').expect("an address with a database");
    format!("{host}/{database}?{query}")
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
