//! Reads gim's database: one connection, one snapshot, bounded pages in the order of the keys.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, MySqlConnection, Row as _};
use tokio::time::timeout;

use crate::error::ImportError;
use crate::generation::{GimGeneration, GimSchema, TableColumns};
use crate::rows::{
    DeviceRow, EntryRow, FriendRow, GroupRow, MemberRow, MessageColumns, RowBody, RowTimes, SeqRow,
    UserRow,
};

/// Longest wait for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a page: the first one may have to read a cold index.
const PAGE_TIMEOUT: Duration = Duration::from_mins(2);
/// Rows of a page without content.
pub(crate) const PAGE_ROWS: usize = 500;
/// Entries of a page. Each has up to 64 KiB, so a page takes up to 16 MiB.
pub(crate) const PAGE_ENTRIES: usize = 256;

/// A connection to gim's database, with a snapshot of it.
#[derive(Debug)]
pub struct GimDatabase {
    conn: MySqlConnection,
    schema: GimSchema,
    /// Hours and minutes of the time zone of gim's processes, in milliseconds.
    zone_ms: i64,
    /// The table `user` has rows: gim's own user service was used.
    has_users: bool,
}

impl GimDatabase {
    /// Connects, recognises the schema and begins a snapshot. `zone_minutes` is the offset from UTC
    /// at which gim wrote its times.
    ///
    /// # Errors
    /// The address is wrong, the server does not answer, or the tables are not gim's.
    pub async fn open(url: &str, zone_minutes: i32) -> Result<Self, ImportError> {
        let options = MySqlConnectOptions::from_str(url).map_err(ImportError::Address)?;
        // A URL spells an IPv6 address `[::1]`; the resolver needs it without the brackets.
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let options = options.host(&host).disable_statement_logging();
        let connecting = timeout(CONNECT_TIMEOUT, options.connect());
        let mut conn = connecting.await.map_err(|_| timed_out(CONNECT_TIMEOUT))??;
        // One snapshot for both passes: the rows that are written are those that were checked.
        for sql in [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        ] {
            let run = timeout(PAGE_TIMEOUT, conn.execute(sqlx::raw_sql(sql)));
            run.await.map_err(|_| timed_out(PAGE_TIMEOUT))??;
        }
        let schema =
            GimSchema::recognise(&tables(&mut conn).await?).map_err(ImportError::Schema)?;
        let some = fetch(&mut conn, "SELECT id FROM `user` LIMIT 1".to_owned(), &[]).await?;
        Ok(Self {
            conn,
            schema,
            zone_ms: i64::from(zone_minutes) * 60_000,
            has_users: !some.is_empty(),
        })
    }

    /// Returns the generation of the schema.
    #[must_use]
    pub const fn generation(&self) -> GimGeneration {
        self.schema.generation
    }

    pub(crate) const fn schema(&self) -> &GimSchema {
        &self.schema
    }

    /// Returns the largest id that a table with an automatic id has handed out, or a smaller one
    /// if the server does not tell.
    pub(crate) async fn last_id(&mut self, table: &str) -> Result<u64, ImportError> {
        let sql = format!(
            "SELECT CAST(GREATEST(COALESCE((SELECT MAX(id) FROM `{table}`), 0), \
             COALESCE((SELECT AUTO_INCREMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'), 1) - 1) AS UNSIGNED)"
        );
        let rows = self.rows(sql, &[]).await?;
        rows.first().map_or(Ok(0), |row| number(row, 0))
    }

    /// Returns the next users by id.
    pub(crate) async fn users(&mut self, after: u64) -> Result<Vec<UserRow>, ImportError> {
        let sql = format!(
            "SELECT u.id, u.phone_number, u.nickname, CAST(u.sex AS SIGNED), u.avatar_url, u.extra, {} \
             FROM `user` u WHERE u.id > ? ORDER BY u.id LIMIT {PAGE_ROWS}",
            self.times("u")
        );
        let rows = self.rows(sql, &[after]).await?;
        let read = |row: &MySqlRow| {
            Ok(UserRow {
                id: number(row, 0)?,
                phone: text(row, 1)?,
                nickname: text(row, 2)?,
                sex: signed(row, 3)?,
                avatar_url: text(row, 4)?,
                extra: text(row, 5)?,
                times: self.read_times(row, 6)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns the next devices by id.
    pub(crate) async fn devices(&mut self, after: u64) -> Result<Vec<DeviceRow>, ImportError> {
        let sql = format!(
            "SELECT d.id, d.user_id, CAST(u.id IS NOT NULL AS UNSIGNED), CAST(d.type AS SIGNED), d.brand, \
             d.model, d.system_version, d.sdk_version, {} FROM device d LEFT JOIN `user` u \
             ON u.id = d.user_id WHERE d.id > ? ORDER BY d.id LIMIT {PAGE_ROWS}",
            self.times("d")
        );
        let rows = self.rows(sql, &[after]).await?;
        let read = |row: &MySqlRow| {
            Ok(DeviceRow {
                id: number(row, 0)?,
                user: number(row, 1)?,
                user_exists: self.exists(row, 2)?,
                kind: signed(row, 3)?,
                brand: text(row, 4)?,
                model: text(row, 5)?,
                system_version: text(row, 6)?,
                sdk_version: text(row, 7)?,
                times: self.read_times(row, 8)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns the next friends, ordered by both ids.
    pub(crate) async fn friends(
        &mut self,
        after: (u64, u64),
    ) -> Result<Vec<FriendRow>, ImportError> {
        let sql = format!(
            "SELECT f.user_id, f.friend_id, CAST(u.id IS NOT NULL AND v.id IS NOT NULL AS UNSIGNED), \
             f.remarks, f.extra, CAST(f.status AS SIGNED), {} FROM friend f \
             LEFT JOIN `user` u ON u.id = f.user_id LEFT JOIN `user` v ON v.id = f.friend_id \
             WHERE f.user_id > ? OR (f.user_id = ? AND f.friend_id > ?) \
             ORDER BY f.user_id, f.friend_id LIMIT {PAGE_ROWS}",
            self.times("f")
        );
        let rows = self.rows(sql, &[after.0, after.0, after.1]).await?;
        let read = |row: &MySqlRow| {
            Ok(FriendRow {
                user: number(row, 0)?,
                friend: number(row, 1)?,
                users_exist: self.exists(row, 2)?,
                remarks: text(row, 3)?,
                extra: text(row, 4)?,
                status: signed(row, 5)?,
                times: self.read_times(row, 6)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns the next groups by id.
    pub(crate) async fn groups(&mut self, after: u64) -> Result<Vec<GroupRow>, ImportError> {
        let sql = format!(
            "SELECT g.id, g.name, g.avatar_url, g.introduction, g.extra, {} FROM `group` g \
             WHERE g.id > ? ORDER BY g.id LIMIT {PAGE_ROWS}",
            self.times("g")
        );
        let rows = self.rows(sql, &[after]).await?;
        let read = |row: &MySqlRow| {
            Ok(GroupRow {
                id: number(row, 0)?,
                name: text(row, 1)?,
                avatar_url: text(row, 2)?,
                introduction: text(row, 3)?,
                extra: text(row, 4)?,
                times: self.read_times(row, 5)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns all members of a group by user id: as many as a roster in memory has.
    pub(crate) async fn members(&mut self, group: u64) -> Result<Vec<MemberRow>, ImportError> {
        let GimSchema {
            member_table,
            member_role,
            member_name,
            ..
        } = self.schema;
        let sql = format!(
            "SELECT m.user_id, CAST(u.id IS NOT NULL AS UNSIGNED), CAST(m.`{member_role}` AS SIGNED), \
             m.`{member_name}`, m.extra FROM `{member_table}` m LEFT JOIN `user` u \
             ON u.id = m.user_id WHERE m.group_id = ? ORDER BY m.user_id"
        );
        let rows = self.rows(sql, &[group]).await?;
        let read = |row: &MySqlRow| {
            Ok(MemberRow {
                user: number(row, 0)?,
                user_exists: self.exists(row, 1)?,
                role: signed(row, 2)?,
                remarks: text(row, 3)?,
                extra: text(row, 4)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns the next members of groups that do not exist, as group and user.
    pub(crate) async fn stray_members(
        &mut self,
        after: (u64, u64),
    ) -> Result<Vec<(u64, u64)>, ImportError> {
        let sql = format!(
            "SELECT m.group_id, m.user_id FROM `{}` m LEFT JOIN `group` g ON g.id = m.group_id \
             WHERE g.id IS NULL AND (m.group_id > ? OR (m.group_id = ? AND m.user_id > ?)) \
             ORDER BY m.group_id, m.user_id LIMIT {PAGE_ROWS}",
            self.schema.member_table
        );
        let rows = self.rows(sql, &[after.0, after.0, after.1]).await?;
        rows.iter()
            .map(|row| Ok((number(row, 0)?, number(row, 1)?)))
            .collect()
    }

    /// Returns the next seqs of users, by user id.
    pub(crate) async fn seqs(&mut self, after: u64) -> Result<Vec<SeqRow>, ImportError> {
        let sql = format!(
            "SELECT s.object_id, CAST(u.id IS NOT NULL AS UNSIGNED), s.seq FROM seq s \
             LEFT JOIN `user` u ON u.id = s.object_id WHERE s.object_type = 1 AND s.object_id > ? \
             ORDER BY s.object_id LIMIT {PAGE_ROWS}"
        );
        let rows = self.rows(sql, &[after]).await?;
        let read = |row: &MySqlRow| {
            Ok(SeqRow {
                user: number(row, 0)?,
                user_exists: self.exists(row, 1)?,
                seq: number(row, 2)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns the users among these that have an entry.
    pub(crate) async fn with_entries(&mut self, users: &[u64]) -> Result<Vec<u64>, ImportError> {
        let mut found = Vec::new();
        if users.is_empty() {
            return Ok(found);
        }
        let marks = vec!["?"; users.len()].join(",");
        for table in self.schema.message_tables.clone() {
            let sql =
                format!("SELECT DISTINCT m.user_id FROM `{table}` m WHERE m.user_id IN ({marks})");
            for row in self.rows(sql, users).await? {
                found.push(number(&row, 0)?);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Returns the next entries of a table, ordered by user and seq.
    pub(crate) async fn entries(
        &mut self,
        table: &str,
        after: (u64, u64),
    ) -> Result<Vec<EntryRow>, ImportError> {
        let schema = &self.schema;
        let (columns, join) = match schema.generation {
            GimGeneration::Of2021 => (
                format!(
                    "m.request_id, {}, m.sender_type, m.sender_id, m.receiver_type, m.receiver_id, \
                     m.to_user_ids, m.type, m.content",
                    unix_ms("m.send_time")
                ),
                String::new(),
            ),
            GimGeneration::Of2023 => (
                format!(
                    "m.request_id, {}, m.code, m.content",
                    unix_ms("m.send_time")
                ),
                String::new(),
            ),
            GimGeneration::Of2025 => (
                format!(
                    "b.request_id, {}, b.`{}`, b.content",
                    unix_ms(&format!("b.{}", schema.created)),
                    schema.command
                ),
                "LEFT JOIN message b ON b.id = m.message_id ".to_owned(),
            ),
        };
        let sql = format!(
            "SELECT m.user_id, CAST(u.id IS NOT NULL AS UNSIGNED), m.seq, \
             CAST(COALESCE(s.seq, 0) AS UNSIGNED), {columns} FROM `{table}` m {join}\
             LEFT JOIN `user` u ON u.id = m.user_id \
             LEFT JOIN seq s ON s.object_type = 1 AND s.object_id = m.user_id \
             WHERE m.user_id > ? OR (m.user_id = ? AND m.seq > ?) \
             ORDER BY m.user_id, m.seq LIMIT {PAGE_ENTRIES}"
        );
        let rows = self.rows(sql, &[after.0, after.0, after.1]).await?;
        rows.iter().map(|row| self.entry(row)).collect()
    }

    fn entry(&self, row: &MySqlRow) -> Result<EntryRow, ImportError> {
        // `None` where the message of an entry is missing.
        let request_id = row.try_get_unchecked::<Option<i64>, _>(4)?;
        let code = || Ok::<_, ImportError>((signed(row, 6)?, content(row, 7)?));
        let body = match (self.schema.generation, request_id) {
            (_, None) => RowBody::Missing,
            (GimGeneration::Of2021, _) => RowBody::Columns(MessageColumns {
                sender_type: signed(row, 6)?,
                sender_id: number(row, 7)?,
                receiver_type: signed(row, 8)?,
                receiver_id: number(row, 9)?,
                mentions: text(row, 10)?,
                kind: signed(row, 11)?,
                content: content(row, 12)?,
            }),
            (GimGeneration::Of2023, _) => {
                let (code, content) = code()?;
                RowBody::Pushed2023 { code, content }
            }
            (GimGeneration::Of2025, _) => {
                let (code, content) = code()?;
                RowBody::Pushed2025 { code, content }
            }
        };
        Ok(EntryRow {
            user: number(row, 0)?,
            user_exists: self.exists(row, 1)?,
            seq: number(row, 2)?,
            head: number(row, 3)?,
            request_id: request_id.unwrap_or_default(),
            sent_at: self.time(row, 5)?,
            body,
        })
    }

    /// Returns the columns of the times of a table with this alias.
    fn times(&self, alias: &str) -> String {
        let column = |name| unix_ms(&format!("{alias}.{name}"));
        format!(
            "{}, {}",
            column(self.schema.created),
            column(self.schema.updated)
        )
    }

    fn read_times(&self, row: &MySqlRow, at: usize) -> Result<RowTimes, ImportError> {
        Ok(RowTimes {
            created: self.time(row, at)?,
            updated: self.time(row, at + 1)?,
        })
    }

    fn time(&self, row: &MySqlRow, at: usize) -> Result<Option<i64>, ImportError> {
        let local = row.try_get_unchecked::<Option<i64>, _>(at)?;
        Ok(local.map(|it| it.saturating_sub(self.zone_ms)))
    }

    /// Returns whether the users of a row exist: always, if gim's users are in another service.
    fn exists(&self, row: &MySqlRow, at: usize) -> Result<bool, ImportError> {
        Ok(!self.has_users || number(row, at)? == 1)
    }

    async fn rows(&mut self, sql: String, keys: &[u64]) -> Result<Vec<MySqlRow>, ImportError> {
        fetch(&mut self.conn, sql, keys).await
    }
}

/// Returns the expression for the milliseconds of a time since 1970, as if it were UTC. It does not
/// depend on the time zone of the session.
fn unix_ms(column: &str) -> String {
    format!("CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) DIV 1000 AS SIGNED)")
}

async fn tables(conn: &mut MySqlConnection) -> Result<TableColumns, ImportError> {
    let sql = "SELECT CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR) \
               FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()";
    let mut tables = TableColumns::new();
    for row in fetch(conn, sql.to_owned(), &[]).await? {
        let columns = tables.entry(text(&row, 0)?).or_default();
        columns.insert(text(&row, 1)?);
    }
    Ok(tables)
}

/// Runs a query. No part of its text comes from outside the program, except for the names of
/// tables that [`GimSchema`] has compared with its own.
async fn fetch(
    conn: &mut MySqlConnection,
    sql: String,
    keys: &[u64],
) -> Result<Vec<MySqlRow>, ImportError> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for key in keys {
        query = query.bind(*key);
    }
    let rows = timeout(PAGE_TIMEOUT, conn.fetch_all(query)).await;
    Ok(rows.map_err(|_| timed_out(PAGE_TIMEOUT))??)
}

const fn timed_out(after: Duration) -> ImportError {
    ImportError::Timeout {
        seconds: after.as_secs(),
    }
}

fn number(row: &MySqlRow, at: usize) -> Result<u64, ImportError> {
    Ok(row.try_get_unchecked(at)?)
}

fn signed(row: &MySqlRow, at: usize) -> Result<i64, ImportError> {
    Ok(row.try_get_unchecked(at)?)
}

fn text(row: &MySqlRow, at: usize) -> Result<String, ImportError> {
    let text = row.try_get_unchecked::<Option<String>, _>(at)?;
    Ok(text.unwrap_or_default())
}

fn content(row: &MySqlRow, at: usize) -> Result<Vec<u8>, ImportError> {
    let content = row.try_get_unchecked::<Option<Vec<u8>>, _>(at)?;
    Ok(content.unwrap_or_default())
}
