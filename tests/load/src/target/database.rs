//! A database of its own for a run on `MySQL`, and a prefix of keys in Redis; both are removed at
//! its end.

use sqlx::{Connection as _, Executor as _, MySqlConnection};

use crate::LoadError;

/// Keys that Redis looks at in one step of a removal.
const SCAN_COUNT: usize = 1_000;

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

    /// Removes the database, and the keys of the run in Redis.
    pub(super) async fn remove(&self) -> Result<(), LoadError> {
        // Both are tried: a Redis that is gone must not leave the database behind.
        let keys = self.remove_keys().await;
        self.run(format!("DROP DATABASE {}", self.name)).await?;
        keys.map_err(|error| LoadError::new("Redis", error))
    }

    async fn remove_keys(&self) -> redis::RedisResult<()> {
        let client = redis::Client::open(self.redis.as_str())?;
        let mut conn = client.get_multiplexed_async_connection().await?;
        let pattern = format!("{}*", self.prefix());
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern);
            scan.arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut conn).await?;
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                let _: u64 = unlink.arg(&keys).query_async(&mut conn).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_removal_leaves_no_key_of_the_run_and_touches_no_other() {
        let Ok(redis) = named("GIMLET_TEST_REDIS") else {
            println!("skipped: GIMLET_TEST_REDIS is not set; run it by tests/backends/with");
            return;
        };
        let run = |name: &str| RunDatabase {
            server: String::new(),
            name: name.to_owned(),
            url: String::new(),
            redis: redis.clone(),
        };
        let number = rand::random::<u64>();
        let (ours, other) = (
            run(&format!("load_{number}")),
            run(&format!("other_{number}")),
        );
        let client = redis::Client::open(redis.as_str()).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        for key in 0..3 * SCAN_COUNT {
            let mut set = redis::cmd("SET");
            set.arg(format!("{}{{u:{key}}}:routes", ours.prefix()))
                .arg(1);
            let (): () = set.query_async(&mut conn).await.unwrap();
        }
        let mut set = redis::cmd("SET");
        set.arg(format!("{}x", other.prefix())).arg(1);
        let (): () = set.query_async(&mut conn).await.unwrap();
        let mut left = async |run: &RunDatabase| {
            let mut keys = redis::cmd("KEYS");
            keys.arg(format!("{}*", run.prefix()));
            let found: Vec<String> = keys.query_async(&mut conn).await.unwrap();
            found.len()
        };
        assert_eq!(left(&ours).await, 3 * SCAN_COUNT);
        ours.remove_keys().await.unwrap();
        assert_eq!((left(&ours).await, left(&other).await), (0, 1));
        other.remove_keys().await.unwrap();
    }
}
