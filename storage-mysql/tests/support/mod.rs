//! Creates a database and a Redis prefix for each test, on the servers that the environment names:
//! `GIMLET_TEST_MYSQL` and `GIMLET_TEST_REDIS`; `tests/backends/with` starts both.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test program uses a part of this"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gimlet_core::time::{SystemClock, TimeSource};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::database::{SqlConnection, TempDatabase};
use gimlet_storage_mysql::{Config, OpenedStores, migrate, open};

/// Explains how to start the servers.
pub(crate) const MISSING: &str = "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it with \
                           tests/backends/with, which starts both servers";

/// A separate database; dropping this drops the database.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) database: TempDatabase,
    pub(crate) config: Config,
}

impl TestDatabase {
    /// Creates and migrates a database.
    pub(crate) async fn new(servers: &BackendAddresses) -> Self {
        let database = TempDatabase::new(&servers.mysql).await;
        let mut config = Config::new(database.url.clone(), servers.redis.clone());
        config.redis.prefix = format!("{}:", database.name);
        config.mysql.relaxed_durability = true;
        migrate(&config.mysql).await.unwrap();
        Self { database, config }
    }

    /// Connects to its database with all privileges.
    pub(crate) async fn admin(&self) -> SqlConnection {
        SqlConnection::connect(&self.database.url).await
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

/// Creates a private CA, and a certificate by it for 127.0.0.1.
pub(crate) fn certificates(folder: &Path, name: &str) {
    let script = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca-{name} \
           -keyout {name}-ca.key -out {name}-ca.pem -addext basicConstraints=critical,CA:TRUE && \
         openssl req -newkey rsa:2048 -nodes -subj /CN=db -keyout {name}.key -out {name}.csr && \
         printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > {name}.ext && \
         openssl x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial \
           -days 2 -extfile {name}.ext -out {name}.pem"
    );
    let done = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
