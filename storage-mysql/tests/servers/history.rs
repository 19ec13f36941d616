//! Law 10: if MySQL loses commits, a new epoch is drawn before anything else is accepted.

use std::time::Duration;

use gimlet_core::id::Epoch;
use gimlet_core::store::{StoreErrorKind, StoreSet};
use gimlet_kit::backend::BackendAddresses;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};

use crate::helpers::{append, contents, kind, send, stored, user};
use crate::support::TestDatabase;

/// Opens a separate session on the store's database.
async fn beside(place: &TestDatabase) -> MySqlConnection {
    let conn = MySqlConnection::connect(&place.config.mysql.url).await;
    conn.unwrap()
}

async fn run(conn: &mut MySqlConnection, sql: &str) {
    let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    query.execute(conn).await.unwrap();
}

/// Truncates user 1's inbox to its first `head` entries, like a replica that lacks the last
/// commits.
async fn rewind(conn: &mut MySqlConnection, head: u64) {
    run(conn, "BEGIN").await;
    run(
        conn,
        &format!("DELETE FROM inbox WHERE user_id = 1 AND seq > {head}"),
    )
    .await;
    run(
        conn,
        &format!("UPDATE inbox_head SET seq = {head} WHERE user_id = 1"),
    )
    .await;
    run(conn, "COMMIT").await;
}

async fn stored_epoch(conn: &mut MySqlConnection) -> Epoch {
    let select = sqlx::query("SELECT value FROM meta WHERE name = 'epoch'");
    let row = select.fetch_one(conn).await.unwrap();
    Epoch(row.get(0))
}

/// Ends every session of this database except the calling one.
async fn end_sessions(conn: &mut MySqlConnection) {
    let sql = "SELECT ID FROM information_schema.PROCESSLIST \
               WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";
    for row in sqlx::query(sql).fetch_all(&mut *conn).await.unwrap() {
        let id: i64 = row.try_get_unchecked(0).unwrap();
        let kill = format!("KILL {id}");
        // The session may have ended by itself.
        let _ = sqlx::raw_sql(AssertSqlSafe(kill)).execute(&mut *conn).await;
    }
}

async fn put(s: &StoreSet, n: u64) {
    for _ in 0..n {
        stored(&append(s, &send(&[1], "hi", None)).await.unwrap());
    }
}

pub(super) async fn a_head_that_goes_back_renews_the_epoch_before_the_next_send(
    servers: BackendAddresses,
) {
    let place = TestDatabase::new(&servers).await;
    let s = place.open().await.stores;
    put(&s, 10).await;
    let mut conn = beside(&place).await;
    let old = stored_epoch(&mut conn).await;
    rewind(&mut conn, 5).await;
    let accepted = stored(&append(&s, &send(&[1], "new", None)).await.unwrap());
    assert_eq!(accepted, 6);
    let new = stored_epoch(&mut conn).await;
    assert_ne!(new, old, "seq 6 was assigned again under the same epoch");
    assert_eq!(s.seq.epoch().await.unwrap(), new);
    // The new history continues under one epoch.
    put(&s, 3).await;
    assert_eq!(stored_epoch(&mut conn).await, new);
    assert_eq!(contents(&s, 1).await.len(), 9);
}

pub(super) async fn a_reader_that_meets_a_shorter_inbox_renews_the_epoch(
    servers: BackendAddresses,
) {
    let place = TestDatabase::new(&servers).await;
    let s = place.open().await.stores;
    let mut conn = beside(&place).await;
    for by_page in [false, true] {
        put(&s, 10).await;
        let old = stored_epoch(&mut conn).await;
        rewind(&mut conn, 5).await;
        if by_page {
            assert_eq!(contents(&s, 1).await.len(), 5);
        } else {
            assert_eq!(s.seq.heads(&[user(1)]).await.unwrap()[0].head.get(), 5);
        }
        assert_ne!(stored_epoch(&mut conn).await, old, "by a page: {by_page}");
        rewind(&mut conn, 0).await;
        assert_eq!(s.seq.heads(&[user(1)]).await.unwrap()[0].head.get(), 0);
    }
}

/// The node whose commits are lost may be gone or idle: another node must notice.
pub(super) async fn a_new_connection_knows_the_commits_of_all_nodes(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let (mut quiet, other) = (place.open().await.stores, place.open().await.stores);
    put(&quiet, 5).await;
    stored(&append(&other, &send(&[2], "hi", None)).await.unwrap());
    put(&quiet, 5).await;
    // The node publishes its commits within a moment.
    let redis = redis::Client::open(servers.redis.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}{{commits}}", place.config.redis.prefix);
    loop {
        let read = redis::cmd("LINDEX").arg(&key).arg(0).to_owned();
        let last: Option<String> = read.query_async(&mut redis).await.unwrap();
        if last.is_some_and(|it| it.ends_with(":1:10")) {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut conn = beside(&place).await;
    let old = stored_epoch(&mut conn).await;
    rewind(&mut conn, 5).await;
    end_sessions(&mut conn).await;
    // This node has never read or written user 1's inbox.
    let accepted = stored(&append(&other, &send(&[1], "new", None)).await.unwrap());
    assert_eq!(accepted, 6);
    let new = stored_epoch(&mut conn).await;
    assert_ne!(new, old, "seq 6 was assigned again under the same epoch");
    // The idle node and a node that starts now find the epoch already renewed.
    put(&quiet, 1).await;
    quiet = place.open().await.stores;
    put(&quiet, 1).await;
    assert_eq!(stored_epoch(&mut conn).await, new);
}

pub(super) async fn an_epoch_whose_renewal_was_lost_is_renewed_again(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let s = place.open().await.stores;
    let first = s.seq.epoch().await.unwrap();
    let second = s.seq.new_epoch(first).await.unwrap();
    let mut conn = beside(&place).await;
    run(
        &mut conn,
        &format!("UPDATE meta SET value = {} WHERE name = 'epoch'", first.0),
    )
    .await;
    end_sessions(&mut conn).await;
    put(&s, 1).await;
    let third = stored_epoch(&mut conn).await;
    assert!(third != first && third != second, "{third:?}");
}

/// Regression: without the row of the epoch, a call that met a shorter inbox repeated itself
/// without a pause until its deadline.
pub(super) async fn a_store_without_its_epoch_is_reported_at_once(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    // Time is irrelevant here; only a call that repeats itself comes near to it.
    place.config.mysql.deadline = Duration::from_secs(10);
    let opened = place.open().await;
    let s = opened.stores.clone();
    put(&s, 10).await;
    let mut conn = beside(&place).await;
    run(&mut conn, "DELETE FROM meta WHERE name = 'epoch'").await;
    rewind(&mut conn, 5).await;
    let before = opened.lasting.statements();
    assert_eq!(kind(s.seq.heads(&[user(1)]).await), StoreErrorKind::Corrupt);
    assert_eq!(
        kind(append(&s, &send(&[1], "hi", None)).await),
        StoreErrorKind::Corrupt
    );
    let sent = opened.lasting.statements() - before;
    assert!(sent < 50, "{sent} statements");
    // A start draws another epoch.
    let s = place.open().await.stores;
    put(&s, 1).await;
    assert_eq!(contents(&s, 1).await.len(), 6);
}
