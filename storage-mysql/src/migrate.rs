//! The schema: ordered migrations from `sql/migrations`, embedded in the program.
//!
//! MySQL commits each DDL statement by itself, so a migration that is killed leaves its first
//! statements applied. sqlx then calls the database dirty and never continues. So this module runs
//! the statements itself, in an order that can be repeated from the beginning:
//!
//! 1. Before a migration begins, it checks that none of the tables that the migration creates
//!    exists: a table found later is then known to be gimlet's own.
//! 2. It records the migration as begun (in sqlx's own table, which older versions of gimlet, and
//!    sqlx, read). This must follow step 1 and precede the first statement.
//! 3. It runs the statements. If the migration was begun before, a statement may find its work
//!    done, and "exists already" counts as success.
//! 4. It records the migration as done.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::migrate::{Migrate as _, MigrateError, Migration, Migrator};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};

use crate::config::MysqlConfig;
use crate::error::OpenError;
use crate::mysql::{ConnectionPurpose, MysqlConnector, opening_step};

static MIGRATIONS: Migrator = sqlx::migrate!("../sql/migrations");

/// Table in which sqlx records the applied migrations.
const APPLIED_TABLE: &str = "_sqlx_migrations";

/// Time for which a migration waits for another one.
const LOCK_WAIT: Duration = Duration::from_mins(1);

/// Error numbers of a statement whose work is done already: a table, column or index exists or is
/// gone, or a row with this key exists.
const DONE_BEFORE: [u16; 6] = [1050, 1051, 1060, 1061, 1062, 1091];

/// Opens a connection for schema changes, with the same session settings as every other connection
/// but longer timeouts.
pub(crate) async fn connect(config: &MysqlConfig) -> Result<MySqlConnection, OpenError> {
    let opened = MysqlConnector::new(config, ConnectionPurpose::Migration)?
        .open()
        .await;
    opened.map(|(conn, _)| conn)
}

/// Brings the database's tables up to this version. Tables that are up to date are not touched;
/// several nodes may call it at once, and a migration that was killed is repeated.
///
/// The statements of a migration have no deadline, because they may take hours on large tables.
pub async fn migrate(config: &MysqlConfig) -> Result<(), OpenError> {
    let mut conn = connect(config).await?;
    let allowed = config.slow_deadline;
    // gimlet takes its own lock: sqlx requests its lock with a negative timeout, which MariaDB does
    // not accept. The lock ends with the connection.
    let sql = "SELECT GET_LOCK(CONCAT('gimlet ', MD5(DATABASE())), ?)";
    let locking = sqlx::query_scalar::<_, Option<i64>>(sql).bind(LOCK_WAIT.as_secs());
    let locked = opening_step(LOCK_WAIT + allowed, async {
        Ok(locking.fetch_one(&mut conn).await?)
    });
    if locked.await? != Some(1) {
        return Err(OpenError::Migrating);
    }
    let known = opening_step(allowed, async {
        let ensured = conn.ensure_migrations_table(APPLIED_TABLE).await;
        ensured.map_err(cause)?;
        Ok(known(&mut conn).await?)
    });
    let known = known.await?;
    check_newer(known.keys())?;
    for migration in MIGRATIONS.iter() {
        match known.get(&migration.version) {
            Some((true, checksum)) if *checksum == *migration.checksum => {}
            Some((true, _)) => {
                return Err(OpenError::Altered {
                    version: migration.version,
                });
            }
            begun => apply(&mut conn, migration, begun.is_some()).await?,
        }
    }
    opening_step(allowed, async { Ok(conn.close().await?) }).await
}

/// Returns the server's error if it is the cause.
fn cause(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}

/// Reads the migrations that the database knows: whether each is done, and its checksum.
async fn known(conn: &mut MySqlConnection) -> Result<HashMap<i64, (bool, Vec<u8>)>, sqlx::Error> {
    let sql = "SELECT version, success, checksum FROM _sqlx_migrations";
    let rows = sqlx::query(sql).fetch_all(conn).await?;
    let row = |row: &sqlx::mysql::MySqlRow| {
        let done = (row.try_get(1)?, row.try_get_unchecked::<Vec<u8>, _>(2)?);
        Ok((row.try_get(0)?, done))
    };
    rows.iter().map(row).collect()
}

async fn apply(
    conn: &mut MySqlConnection,
    migration: &Migration,
    begun: bool,
) -> Result<(), OpenError> {
    let version = migration.version;
    if begun {
        tracing::warn!(version, "migration was interrupted, repeating it");
    } else {
        let tables = foreign(conn, migration).await.map_err(OpenError::Mysql)?;
        if !tables.is_empty() {
            return Err(OpenError::Foreign { tables });
        }
        let sql = "INSERT INTO _sqlx_migrations \
                   (version, description, success, checksum, execution_time) VALUES (?, ?, FALSE, ?, -1)";
        sqlx::query(sql)
            .bind(version)
            .bind(&*migration.description)
            .bind(&*migration.checksum)
            .execute(&mut *conn)
            .await
            .map_err(OpenError::Mysql)?;
    }
    let start = tokio::time::Instant::now();
    for statement in statements(migration.sql.as_str()) {
        let run = sqlx::raw_sql(AssertSqlSafe(statement.clone()));
        match run.execute(&mut *conn).await {
            Ok(_) => {}
            Err(error) if begun && is_done_before(&error) => {
                tracing::debug!(version, "statement already done, skipped");
            }
            Err(source) => {
                return Err(OpenError::Migrate {
                    version,
                    statement: statement.lines().next().unwrap_or_default().to_owned(),
                    source,
                });
            }
        }
    }
    let took = i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let sql = "UPDATE _sqlx_migrations SET success = TRUE, checksum = ?, execution_time = ? \
               WHERE version = ?";
    sqlx::query(sql)
        .bind(&*migration.checksum)
        .bind(took)
        .bind(version)
        .execute(&mut *conn)
        .await
        .map_err(OpenError::Mysql)?;
    tracing::info!(version, ms = took / 1_000_000, "migration applied");
    Ok(())
}

/// Returns the tables that the migration would create and that exist already: gim's, or another
/// program's.
async fn foreign(
    conn: &mut MySqlConnection,
    migration: &Migration,
) -> Result<Vec<String>, sqlx::Error> {
    let mut found = Vec::new();
    for statement in statements(migration.sql.as_str()) {
        let Some(table) = made_table(&statement) else {
            continue;
        };
        let sql = "SELECT COUNT(*) FROM information_schema.TABLES \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
        let count = sqlx::query_scalar::<_, i64>(sql).bind(table);
        if count.fetch_one(&mut *conn).await? > 0 {
            found.push(table.to_owned());
        }
    }
    Ok(found)
}

/// Returns the table that a statement creates.
fn made_table(statement: &str) -> Option<&str> {
    let rest = statement.strip_prefix("CREATE TABLE ")?;
    rest.split([' ', '(']).find(|it| !it.is_empty())
}

fn is_done_before(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .is_some_and(|it| DONE_BEFORE.contains(&it.number()))
}

/// Splits a migration's text into statements: each ends with a line that ends with a semicolon.
pub(crate) fn statements(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut statement = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("--") || line.trim().is_empty() {
            continue;
        }
        statement.push_str(line);
        if line.trim_end().ends_with(';') {
            let whole = statement.trim_end().trim_end_matches(';').to_owned();
            all.push(whole);
            statement.clear();
        } else {
            statement.push('\n');
        }
    }
    if !statement.trim().is_empty() {
        all.push(statement);
    }
    all
}

fn check_newer<'a>(versions: impl Iterator<Item = &'a i64>) -> Result<(), OpenError> {
    let ours: Vec<i64> = MIGRATIONS.iter().map(|it| it.version).collect();
    let mut versions = versions;
    match versions.find(|it| !ours.contains(it)) {
        Some(newer) => Err(OpenError::Newer { version: *newer }),
        None => Ok(()),
    }
}

/// Returns the statements of every migration, in order, for tests that interrupt one.
#[doc(hidden)]
#[must_use]
pub fn migration_statements() -> Vec<(i64, Vec<u8>, Vec<String>)> {
    let all = MIGRATIONS.iter();
    all.map(|it| {
        (
            it.version,
            it.checksum.to_vec(),
            statements(it.sql.as_str()),
        )
    })
    .collect()
}

/// Returns how many migrations of this version the database lacks; fails if it has others.
pub async fn pending(config: &MysqlConfig) -> Result<usize, OpenError> {
    let mut conn = connect(config).await?;
    let applied = opening_step(config.slow_deadline, async {
        let there = sqlx::query("SHOW TABLES LIKE '\\_sqlx\\_migrations'");
        let mut applied = Vec::new();
        if there.fetch_optional(&mut conn).await?.is_some() {
            let sql = "SELECT version FROM _sqlx_migrations WHERE success = TRUE";
            let select = sqlx::query_scalar::<_, i64>(sql);
            applied = select.fetch_all(&mut conn).await?;
        }
        conn.close().await?;
        Ok(applied)
    });
    let applied = applied.await?;
    check_newer(applied.iter())?;
    Ok(MIGRATIONS
        .iter()
        .filter(|it| !applied.contains(&it.version))
        .count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_into_whole_statements() {
        let all = statements(
            "-- a; comment\nCREATE TABLE a (\n  x INT,\n  y INT\n);\n\nINSERT INTO a VALUES (1);\n",
        );
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(made_table(&all[0]) == Some("a") && all[1].starts_with("INSERT"));
    }

    #[test]
    fn every_migration_is_made_of_statements_that_may_be_repeated() {
        for (version, _, statements) in migration_statements() {
            assert!(!statements.is_empty(), "{version}");
            for statement in statements {
                let repeatable = [
                    "CREATE TABLE ",
                    "ALTER TABLE ",
                    "INSERT INTO ",
                    "DROP TABLE ",
                    "DELETE FROM ",
                ];
                assert!(
                    repeatable.iter().any(|it| statement.starts_with(it)),
                    "migration {version}: is this one done again without harm? {statement}"
                );
                assert!(!statement.contains(';'), "{statement}");
            }
        }
    }
}
