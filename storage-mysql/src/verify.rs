//! Reads a whole schema and checks every law that can be checked at rest.
//!
//! Everything is read in one snapshot, so nodes may run meanwhile: later commits are not seen.

use futures_util::TryStreamExt as _;
use gimlet_core::verify::{VerifyReport, VerifyRule};
use sqlx::mysql::MySqlRow;
use sqlx::{Connection as _, MySqlConnection, Row as _};

use crate::config::MysqlConfig;
use crate::error::OpenError;
use crate::{migrate, record};

/// Largest number of findings reported per query.
const MAX_FINDINGS: u32 = 1_000;

/// A query each of whose rows is a finding: the place, and the fault there.
struct SchemaCheck {
    rule: VerifyRule,
    sql: &'static str,
}

/// All checks. Each returns two texts: place and fault. Even for a large table the query stays a
/// scan in key order.
const SCHEMA_CHECKS: &[SchemaCheck] = &[
    SchemaCheck {
        rule: VerifyRule::Epoch,
        sql: "SELECT 'store', 'it has no epoch' FROM (SELECT 1) one \
              WHERE NOT EXISTS (SELECT 1 FROM meta WHERE name = 'epoch' AND value > 0)",
    },
    SchemaCheck {
        rule: VerifyRule::Contiguous,
        sql: "SELECT CONCAT('inbox of user ', h.user_id), CONCAT('it has ', COUNT(i.seq), \
              ' entries from ', COALESCE(MIN(i.seq), 0), ' to ', COALESCE(MAX(i.seq), 0), \
              '; its floor is ', h.floor, ' and its head ', h.seq) \
              FROM inbox_head h LEFT JOIN inbox i ON i.user_id = h.user_id \
              GROUP BY h.user_id, h.seq, h.floor \
              HAVING COUNT(i.seq) <> h.seq - h.floor \
              OR (COUNT(i.seq) > 0 AND (MIN(i.seq) <> h.floor + 1 OR MAX(i.seq) <> h.seq))",
    },
    SchemaCheck {
        rule: VerifyRule::Contiguous,
        sql: "SELECT CONCAT('inbox of user ', i.user_id), 'it has entries and no head' FROM inbox i \
              LEFT JOIN inbox_head h ON h.user_id = i.user_id WHERE h.user_id IS NULL \
              GROUP BY i.user_id",
    },
    SchemaCheck {
        rule: VerifyRule::Contiguous,
        sql: "SELECT CONCAT('inbox of user ', user_id), 'its floor is above its head' \
              FROM inbox_head WHERE floor > seq",
    },
    SchemaCheck {
        rule: VerifyRule::Bodies,
        sql: "SELECT CONCAT('inbox of user ', i.user_id, ', entry ', i.seq), 'its message is missing' \
              FROM inbox i LEFT JOIN message m ON m.message_id = i.shared \
              WHERE (i.shared IS NOT NULL AND m.message_id IS NULL) \
              OR (i.shared IS NULL AND i.body IS NULL)",
    },
    SchemaCheck {
        rule: VerifyRule::Bodies,
        sql: "SELECT CONCAT('message ', LOWER(HEX(m.message_id))), CONCAT(COALESCE(e.n, 0) + \
              COALESCE(j.n, 0), ' entries need it, and it counts ', m.refs) FROM message m \
              LEFT JOIN (SELECT shared, COUNT(*) n FROM inbox WHERE shared IS NOT NULL \
              GROUP BY shared) e ON e.shared = m.message_id \
              LEFT JOIN (SELECT message_id, CAST(SUM(total - done) AS SIGNED) n FROM fanout_job \
              GROUP BY message_id) j ON j.message_id = m.message_id \
              WHERE m.refs <> COALESCE(e.n, 0) + COALESCE(j.n, 0)",
    },
    SchemaCheck {
        rule: VerifyRule::Jobs,
        sql: "SELECT CONCAT('job ', job), CONCAT(done, ' of ', total, ' are done, and it is open') \
              FROM fanout_job WHERE done >= total",
    },
    SchemaCheck {
        rule: VerifyRule::Jobs,
        sql: "SELECT CONCAT('job ', j.job), CONCAT('it has ', COALESCE(SUM(LENGTH(p.users)), 0) DIV 8, \
              ' recipients from ', COALESCE(MIN(p.start), 0), ' on; ', j.done, ' of ', j.total, \
              ' are done') FROM fanout_job j LEFT JOIN fanout_part p ON p.job = j.job \
              GROUP BY j.job, j.total, j.done \
              HAVING COALESCE(MIN(p.start), j.total) > j.done \
              OR COALESCE(MIN(p.start), 0) + COALESCE(SUM(LENGTH(p.users)), 0) DIV 8 <> j.total",
    },
    SchemaCheck {
        rule: VerifyRule::Jobs,
        sql: "SELECT CONCAT('job ', j.job), 'its message is missing' FROM fanout_job j \
              LEFT JOIN message m ON m.message_id = j.message_id WHERE m.message_id IS NULL",
    },
    SchemaCheck {
        rule: VerifyRule::Jobs,
        sql: "SELECT CONCAT('job ', p.job), 'recipients of a job that does not exist' FROM fanout_part p \
              LEFT JOIN fanout_job j ON j.job = p.job WHERE j.job IS NULL GROUP BY p.job",
    },
    SchemaCheck {
        rule: VerifyRule::Generations,
        sql: "SELECT CONCAT('device ', device_id), 'it has signed in, and its generation is 0' \
              FROM device WHERE user_id > 0 AND generation = 0",
    },
    SchemaCheck {
        rule: VerifyRule::Acks,
        sql: "SELECT CONCAT('inbox of user ', a.user_id, ', device ', a.device_id), \
              CONCAT('it has acked ', a.upto, ', and the head is ', COALESCE(h.seq, 0)) \
              FROM device_ack a LEFT JOIN inbox_head h ON h.user_id = a.user_id \
              WHERE a.upto > COALESCE(h.seq, 0)",
    },
    SchemaCheck {
        rule: VerifyRule::Rosters,
        sql: "SELECT CONCAT('group ', g.group_id), CONCAT('it has ', COUNT(m.user_id), \
              ' members and counts ', g.members) FROM group_info g \
              LEFT JOIN group_member m ON m.group_id = g.group_id \
              GROUP BY g.group_id, g.members HAVING COUNT(m.user_id) <> g.members",
    },
    SchemaCheck {
        rule: VerifyRule::Rosters,
        sql: "SELECT CONCAT('group ', m.group_id), 'members of a group that does not exist' FROM group_member m \
              LEFT JOIN group_info g ON g.group_id = m.group_id WHERE g.group_id IS NULL \
              GROUP BY m.group_id",
    },
    SchemaCheck {
        rule: VerifyRule::Rosters,
        sql: "SELECT CONCAT('group ', group_id, ', user ', user_id), CONCAT('its role is ', role) \
              FROM group_member WHERE role NOT IN (1, 2)",
    },
    SchemaCheck {
        rule: VerifyRule::Friends,
        sql: "SELECT CONCAT('users ', f.user_id, ' and ', f.friend_id), 'a friendship of one side' \
              FROM friend f LEFT JOIN friend b ON b.user_id = f.friend_id \
              AND b.friend_id = f.user_id AND b.agreed = 1 \
              WHERE f.agreed = 1 AND b.user_id IS NULL",
    },
    SchemaCheck {
        rule: VerifyRule::PushTokens,
        sql: "SELECT CONCAT('push address of user ', user_id, ' on device ', device_id), \
              'its fingerprint is not that of its address' FROM push_token \
              WHERE address_hash <> UNHEX(SHA2(CONCAT(CASE provider WHEN 1 THEN 'apns:' \
              WHEN 2 THEN 'fcm:' WHEN 3 THEN 'webpush:' ELSE '' END, token), 256))",
    },
    SchemaCheck {
        rule: VerifyRule::Readable,
        sql: "SELECT CONCAT('API key ', LOWER(HEX(key_id))), 'its id is not that of its hash' \
              FROM api_key WHERE key_id <> \
              GREATEST(CAST(CONV(HEX(SUBSTRING(hash, 1, 8)), 16, 10) AS UNSIGNED) DIV 2, 1)",
    },
    SchemaCheck {
        rule: VerifyRule::Readable,
        sql: "SELECT CONCAT('JWT user ', user_id), 'its list of revoked tokens has another length' \
              FROM jwt_user WHERE LENGTH(revoked) % 40 <> 0",
    },
    SchemaCheck {
        rule: VerifyRule::Counters,
        sql: "SELECT 'counter of users', CONCAT('it stands at ', c.value, ', and ', a.n, ' is taken') \
              FROM counter c, (SELECT COALESCE(MAX(user_id), 0) n FROM account) a \
              WHERE c.scope = 1 AND c.value < a.n",
    },
    SchemaCheck {
        rule: VerifyRule::Counters,
        sql: "SELECT 'counter of groups', CONCAT('it stands at ', c.value, ', and ', a.n, ' is taken') \
              FROM counter c, (SELECT COALESCE(MAX(group_id), 0) n FROM group_info) a \
              WHERE c.scope = 3 AND c.value < a.n",
    },
    SchemaCheck {
        rule: VerifyRule::Counters,
        sql: "SELECT 'counter of jobs', CONCAT('it stands at ', c.value, ', and ', a.n, ' is taken') \
              FROM counter c, (SELECT COALESCE(MAX(job), 0) n FROM fanout_job) a \
              WHERE c.scope = 4 AND c.value < a.n",
    },
    SchemaCheck {
        rule: VerifyRule::Counters,
        sql: "SELECT CONCAT('counter ', s.scope), 'it is missing' FROM (SELECT 1 scope UNION SELECT 2 \
              UNION SELECT 3 UNION SELECT 4) s LEFT JOIN counter c ON c.scope = s.scope \
              WHERE c.scope IS NULL",
    },
];

/// Counted tables, so that a report says how much was read.
const COUNTED_TABLES: &[(&str, &str)] = &[
    ("inboxes", "SELECT COUNT(*) FROM inbox_head"),
    ("entries", "SELECT COUNT(*) FROM inbox"),
    ("bodies", "SELECT COUNT(*) FROM message"),
    ("keys", "SELECT COUNT(*) FROM send_key"),
    ("jobs", "SELECT COUNT(*) FROM fanout_job"),
    ("devices", "SELECT COUNT(*) FROM device"),
    ("acks", "SELECT COUNT(*) FROM device_ack"),
    ("groups", "SELECT COUNT(*) FROM group_info"),
    ("members", "SELECT COUNT(*) FROM group_member"),
    (
        "friendships",
        "SELECT COUNT(*) FROM friend WHERE agreed = 1",
    ),
    ("accounts", "SELECT COUNT(*) FROM account"),
    ("events", "SELECT COUNT(*) FROM event_outbox"),
    ("dead letters", "SELECT COUNT(*) FROM event_dead_letter"),
    ("push addresses", "SELECT COUNT(*) FROM push_token"),
    ("api keys", "SELECT COUNT(*) FROM api_key"),
    ("users of JWTs", "SELECT COUNT(*) FROM jwt_user"),
];

/// Checks a schema. Calls `step` with the number of the check that begins and the total number of
/// checks.
pub async fn verify(
    config: &MysqlConfig,
    mut step: impl FnMut(u64, u64),
) -> Result<VerifyReport, OpenError> {
    let missing = migrate::pending(config).await?;
    if missing > 0 {
        let text = format!("{missing} migrations are missing");
        return Err(OpenError::Schema(text));
    }
    let mut conn = migrate::connect(config).await?;
    let checked = check(&mut conn, &mut step)
        .await
        .map_err(OpenError::Mysql)?;
    conn.close().await.map_err(OpenError::Mysql)?;
    Ok(checked)
}

async fn check(
    conn: &mut MySqlConnection,
    step: &mut impl FnMut(u64, u64),
) -> Result<VerifyReport, sqlx::Error> {
    // The isolation level comes first: under READ COMMITTED, `WITH CONSISTENT SNAPSHOT` is ignored,
    // and each query would see a different moment.
    let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    sqlx::raw_sql(isolation).execute(&mut *conn).await?;
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    sqlx::raw_sql(begin).execute(&mut *conn).await?;
    let mut report = VerifyReport::default();
    let all = (SCHEMA_CHECKS.len() + COUNTED_TABLES.len() + 3) as u64;
    let mut at = 0;
    let mut next = || {
        at += 1;
        step(at, all);
    };
    for (kind, sql) in COUNTED_TABLES {
        next();
        let count = sqlx::query(*sql).fetch_one(&mut *conn).await?;
        report.count(kind, count.try_get_unchecked::<u64, _>(0)?);
    }
    for SchemaCheck { rule, sql } in SCHEMA_CHECKS {
        next();
        let limited = format!("{sql} LIMIT {MAX_FINDINGS}");
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(limited));
        for row in rows.fetch_all(&mut *conn).await? {
            report.find(*rule, words(&row, 0)?, words(&row, 1)?);
        }
    }
    next();
    bodies(conn, &mut report).await?;
    next();
    events(conn, &mut report).await?;
    next();
    sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await?;
    Ok(report)
}

/// Decodes every message, one row at a time.
async fn bodies(conn: &mut MySqlConnection, report: &mut VerifyReport) -> Result<(), sqlx::Error> {
    let sql = "SELECT CONCAT('inbox of user ', user_id, ', entry ', seq), body FROM inbox \
               WHERE body IS NOT NULL UNION ALL \
               SELECT CONCAT('message ', LOWER(HEX(message_id))), body FROM message";
    let mut rows = sqlx::query(sql).fetch(&mut *conn);
    while let Some(row) = rows.try_next().await? {
        let body = row.try_get_unchecked::<Vec<u8>, _>(1)?;
        if let Err(error) = record::decode(body) {
            report.find(VerifyRule::Readable, words(&row, 0)?, error.to_string());
        }
    }
    Ok(())
}

/// Decodes every event that waits, one row at a time. An unreadable dead letter is no finding: that
/// may be the reason why the event was given up.
async fn events(conn: &mut MySqlConnection, report: &mut VerifyReport) -> Result<(), sqlx::Error> {
    let sql = "SELECT CONCAT('event ', position, ' of hook ', hook), record FROM event_outbox";
    let mut rows = sqlx::query(sql).fetch(&mut *conn);
    while let Some(row) = rows.try_next().await? {
        let record = row.try_get_unchecked::<Vec<u8>, _>(1)?;
        if let Err(error) = gimlet_record::decode_event(&record) {
            report.find(VerifyRule::Readable, words(&row, 0)?, error.to_string());
        }
    }
    Ok(())
}

/// Returns a column as text by its bytes: with a binary collation, servers disagree about its type.
fn words(row: &MySqlRow, at: usize) -> Result<String, sqlx::Error> {
    let bytes = row.try_get_unchecked::<Vec<u8>, _>(at)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
