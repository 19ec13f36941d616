//! The schema: ordered migrations from `sql/migrations`, embedded in the program.

use sqlx::migrate::Migrator;
use sqlx::{Connection as _, MySqlConnection};

use crate::config::MysqlConfig;
use crate::error::OpenError;
use crate::mysql::{Connector, Purpose};

static MIGRATIONS: Migrator = sqlx::migrate!("../sql/migrations");

/// A connection for changes of the schema: with the settings of every other one, and more patience.
async fn connect(config: &MysqlConfig) -> Result<MySqlConnection, OpenError> {
    Connector::new(config, Purpose::Migration)?.open().await
}

/// Brings the database's tables up to this version. Nothing happens to tables that are; several
/// nodes may call it at once.
pub async fn migrate(config: &MysqlConfig) -> Result<(), OpenError> {
    let mut conn = connect(config).await?;
    // A lock of our own: sqlx waits for its lock by a negative time, which MariaDB does not take.
    // It ends with the connection.
    let sql = "SELECT GET_LOCK(CONCAT('gimlet ', MD5(DATABASE())), 60)";
    let locked = sqlx::query_scalar::<_, Option<i64>>(sql).fetch_one(&mut conn);
    if locked.await.map_err(OpenError::Mysql)? != Some(1) {
        let text = "another migration has been running for a minute";
        return Err(OpenError::Schema(text.into()));
    }
    MIGRATIONS.run_direct(None, &mut conn, false).await?;
    conn.close().await.map_err(OpenError::Mysql)
}

/// How many migrations of this version the database lacks; an error if it has others.
pub async fn pending(config: &MysqlConfig) -> Result<usize, OpenError> {
    let mut conn = connect(config).await?;
    let there = sqlx::query("SHOW TABLES LIKE '\\_sqlx\\_migrations'")
        .fetch_optional(&mut conn)
        .await
        .map_err(OpenError::Mysql)?;
    let mut applied = Vec::new();
    if there.is_some() {
        let sql = "SELECT version FROM _sqlx_migrations WHERE success = TRUE";
        applied = sqlx::query_scalar::<_, i64>(sql)
            .fetch_all(&mut conn)
            .await
            .map_err(OpenError::Mysql)?;
    }
    conn.close().await.map_err(OpenError::Mysql)?;
    let ours: Vec<i64> = MIGRATIONS.iter().map(|it| it.version).collect();
    if let Some(newer) = applied.iter().find(|it| !ours.contains(it)) {
        return Err(OpenError::Schema(format!(
            "migration {newer} is of a newer version"
        )));
    }
    Ok(ours.iter().filter(|it| !applied.contains(it)).count())
}
