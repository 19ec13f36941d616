//! Conflicts, outages and crashes of MySQL.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gimlet_core::store::{AppendOutcome, IdScope, StoreErrorKind};
use gimlet_core::time::{ManualClock, UnixTimestamp};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::proxy::ProxyMode;
use gimlet_storage_mysql::{OpenError, migrate, open_lasting, pending};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};
use tokio::time::{Instant, timeout};

use crate::helpers::{append, contents, device, kind, send, stored, through, user};
use crate::support::TestDatabase;

async fn run(conn: &mut MySqlConnection, sql: &str) {
    let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    query.execute(conn).await.unwrap();
}

/// Returns whether a sender of this database has run its statement on the heads for longer than it
/// takes without a lock.
async fn somebody_waits(conn: &mut MySqlConnection) -> bool {
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() \
               AND INFO LIKE 'INSERT INTO inbox_head%' AND TIME_MS > 50";
    let row = sqlx::query(sql).fetch_one(conn).await.unwrap();
    row.get::<i64, _>(0) > 0
}

pub(super) async fn a_deadlock_is_tried_again(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let opened = place.open().await;
    let s = opened.stores.clone();
    stored(&append(&s, &send(&[1, 2], "first", None)).await.unwrap());
    let mut watch = MySqlConnection::connect(&place.config.mysql.url)
        .await
        .unwrap();
    let mut other = MySqlConnection::connect(&place.config.mysql.url)
        .await
        .unwrap();
    for round in 0..5 {
        run(&mut other, "BEGIN").await;
        // Many changes to roll back, so that the server chooses the other transaction as the
        // victim.
        run(
            &mut other,
            "INSERT INTO device_ack SELECT 99, seq, 1 FROM seq_1_to_2000 \
                         ON DUPLICATE KEY UPDATE upto = upto + 1",
        )
        .await;
        run(
            &mut other,
            "UPDATE inbox_head SET floor = floor WHERE user_id = 2",
        )
        .await;
        let mut ours = tokio::task::JoinSet::new();
        ours.spawn({
            let (s, key) = (s.clone(), format!("k{round}"));
            async move { append(&s, &send(&[1, 2], "ours", Some(&key))).await }
        });
        while !somebody_waits(&mut watch).await {
            tokio::task::yield_now().await;
        }
        // Our transaction holds user 1 and waits for user 2: this statement closes the cycle.
        run(
            &mut other,
            "UPDATE inbox_head SET floor = floor WHERE user_id = 1",
        )
        .await;
        run(&mut other, "COMMIT").await;
        assert_eq!(
            stored(&ours.join_next().await.unwrap().unwrap().unwrap()),
            2 + round
        );
    }
    assert_eq!(contents(&s, 2).await.len(), 6);
    let sql = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'";
    let deadlocks = sqlx::query(sql).fetch_one(&mut watch).await.unwrap();
    let deadlocks: u64 = deadlocks.get::<String, _>(1).parse().unwrap();
    assert!(deadlocks >= 5, "the server saw {deadlocks} deadlocks");
}

pub(super) async fn a_lost_answer_to_a_commit_is_unknown(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    for round in 1..=5 {
        let send = send(&[1, 2], "hi", Some(&format!("k{round}")));
        proxy.set(ProxyMode::SwallowCommit);
        assert_eq!(kind(append(&s, &send).await), StoreErrorKind::Unknown);
        proxy.set(ProxyMode::Pass);
        // A repeat with its id finds the send stored, once.
        let again = append(&s, &send).await.unwrap();
        let AppendOutcome::Repeated { message, seq } = again else {
            panic!("{again:?}")
        };
        assert_eq!((message, seq.get()), (send.message.id, round));
    }
    assert_eq!(proxy.struck(), 5);
    assert_eq!(contents(&s, 2).await.len(), 5);
}

pub(super) async fn a_lost_commit_is_unknown(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    let send = send(&[1, 2], "hi", Some("k"));
    proxy.set(ProxyMode::DropCommit);
    assert_eq!(kind(append(&s, &send).await), StoreErrorKind::Unknown);
    proxy.set(ProxyMode::Pass);
    assert_eq!(stored(&append(&s, &send).await.unwrap()), 1);
    assert_eq!(proxy.struck(), 1);
    assert_eq!(contents(&s, 1).await, ["hi"]);
}

pub(super) async fn a_broken_transaction_is_made_again(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    for round in 1..=5 {
        let send = send(&[1, 2], "strike here", Some(&format!("k{round}")));
        proxy.set(ProxyMode::DropEntry);
        // The caller sees no error: nothing was committed, and the transaction is repeated on
        // another connection.
        assert_eq!(stored(&append(&s, &send).await.unwrap()), round);
    }
    assert_eq!(proxy.struck(), 5);
    assert_eq!(contents(&s, 2).await.len(), 5);
}

pub(super) async fn a_frozen_server_is_unavailable_in_time(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    let first = send(&[1, 2], "first", Some("a"));
    stored(&append(&s, &first).await.unwrap());
    proxy.set(ProxyMode::Freeze);
    let start = Instant::now();
    let frozen = send(&[1, 2], "frozen", Some("b"));
    let (append_kind, head_kind) = tokio::join!(async { kind(append(&s, &frozen).await) }, async {
        kind(s.seq.heads(&[user(1)]).await)
    },);
    assert_eq!(
        append_kind,
        StoreErrorKind::Unavailable,
        "no COMMIT was sent"
    );
    assert_eq!(head_kind, StoreErrorKind::Unavailable);
    assert!(
        start.elapsed() < Duration::from_millis(1_450),
        "{:?}",
        start.elapsed()
    );
    proxy.set(ProxyMode::Pass);
    assert_eq!(stored(&append(&s, &frozen).await.unwrap()), 2);
    assert_eq!(contents(&s, 2).await, ["first", "frozen"]);
}

pub(super) async fn a_server_that_is_away_is_unavailable_and_comes_back(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    let send = send(&[1, 2], "hi", Some("k"));
    proxy.set(ProxyMode::Down);
    let start = Instant::now();
    assert_eq!(kind(append(&s, &send).await), StoreErrorKind::Unavailable);
    assert_eq!(
        kind(s.device.acked(user(1)).await),
        StoreErrorKind::Unavailable
    );
    let tokens = || (1..=20).map(|n| s.account.token(user(n), device(n)));
    for token in join_all(tokens()).await {
        assert_eq!(kind(token), StoreErrorKind::Unavailable);
    }
    assert!(
        start.elapsed() < Duration::from_millis(4_350),
        "{:?}",
        start.elapsed()
    );
    proxy.set(ProxyMode::Pass);
    let start = Instant::now();
    assert_eq!(stored(&append(&s, &send).await.unwrap()), 1);
    for token in join_all(tokens()).await {
        assert_eq!(token.unwrap(), None);
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

pub(super) async fn an_old_schema_is_refused(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let config = &place.config.mysql;
    let mut conn = MySqlConnection::connect(&config.url).await.unwrap();
    assert_eq!(pending(config).await.unwrap(), 0);
    run(&mut conn, "DELETE FROM _sqlx_migrations").await;
    assert!(pending(config).await.unwrap() > 0);
    let clock = Arc::new(ManualClock::default());
    let refused = open_lasting(config, Arc::clone(&clock) as _)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("gimlet migrate"), "{refused}");
    run(&mut conn, "DROP TABLE _sqlx_migrations").await;
    assert!(matches!(
        open_lasting(config, clock).await,
        Err(OpenError::Schema(_))
    ));
    run(
        &mut conn,
        "CREATE TABLE _sqlx_migrations (version BIGINT, success BOOLEAN)",
    )
    .await;
    run(
        &mut conn,
        "INSERT INTO _sqlx_migrations VALUES (1, TRUE), (9999, TRUE)",
    )
    .await;
    let refused = pending(config).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Newer { version: 9999 }),
        "{refused}"
    );
}

pub(super) async fn migrations_run_once(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let config = &place.config.mysql;
    let mut conn = MySqlConnection::connect(&config.url).await.unwrap();
    let (base, name) = config.url.rsplit_once('/').unwrap();
    let name = name.trim_end_matches('?');
    run(&mut conn, &format!("DROP DATABASE {name}")).await;
    run(&mut conn, &format!("CREATE DATABASE {name}")).await;
    assert!(base.starts_with("mysql://"));
    let (a, b, c) = tokio::join!(migrate(config), migrate(config), migrate(config));
    for done in [a, b, c] {
        done.unwrap();
    }
    let s = place.open().await.stores;
    stored(&append(&s, &send(&[1, 2], "hi", None)).await.unwrap());
    let demo = include_str!("../../../sql/demo.sql");
    let mut conn = MySqlConnection::connect(&config.url).await.unwrap();
    run(&mut conn, demo).await;
    run(&mut conn, demo).await;
    let account = s.account.by_phone("+10000000002").await.unwrap().unwrap();
    assert_eq!((account.user, account.nickname.as_str()), (user(2), "Bob"));
    assert!(s.friend.are_friends(user(1), user(2)).await.unwrap());
    assert_eq!(s.seq.reserve(IdScope::User, 1).await.unwrap(), 4);
}

pub(super) async fn tokens_of_before_stay_good(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let config = &place.config.mysql;
    let mut conn = MySqlConnection::connect(&config.url).await.unwrap();
    // State that the version before migration 0002 left behind.
    run(&mut conn, "DROP TABLE user_token").await;
    let sql = "INSERT INTO device_token (device_id, user_id, hash, expires_at) \
               VALUES (7, 5, REPEAT('a', 32), 9)";
    run(&mut conn, sql).await;
    run(&mut conn, "DELETE FROM _sqlx_migrations WHERE version = 2").await;
    migrate(config).await.unwrap();
    let s = place.open().await.stores;
    let kept = s.account.token(user(5), device(7)).await;
    let kept = kept.unwrap().unwrap();
    assert_eq!((kept.hash, kept.expires_at), ([b'a'; 32], UnixTimestamp(9)));
}

pub(super) async fn an_expired_key_is_nobodys(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let clock = Arc::new(ManualClock::at(UnixTimestamp(1_000_000)));
    let s = place.open_at(Arc::clone(&clock) as _).await.stores;
    let (first, second) = (send(&[1, 2], "a", Some("k")), send(&[1, 2], "a", Some("k")));
    assert_eq!(stored(&append(&s, &first).await.unwrap()), 1);
    clock.advance(Duration::from_mins(59));
    assert!(matches!(
        append(&s, &second).await.unwrap(),
        AppendOutcome::Repeated { .. }
    ));
    assert_eq!(s.inbox.sweep(10).await.unwrap(), 0);
    clock.advance(Duration::from_mins(1));
    // Its window has passed, but it has not been swept yet.
    assert_eq!(stored(&append(&s, &second).await.unwrap()), 2);
    assert_eq!(s.inbox.sweep(10).await.unwrap(), 0, "it is in use again");
    clock.advance(Duration::from_hours(1));
    for n in 0..30 {
        append(&s, &send(&[1], "b", Some(&format!("b{n}"))))
            .await
            .unwrap();
    }
    assert_eq!(s.inbox.sweep(10).await.unwrap(), 1);
    clock.advance(Duration::from_hours(1));
    assert_eq!(s.inbox.sweep(10).await.unwrap(), 10);
    assert_eq!(s.inbox.sweep(100).await.unwrap(), 20);
}

/// Regression: with gRPC clients alone, no log line named a database that was down.
pub(super) async fn a_mysql_that_is_away_is_noticed_and_its_return_too(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let opened = place.open().await;
    let health = opened.lasting.health();
    opened.lasting.ping().await;
    assert!(health.current_failure().is_none() && health.has_answered());
    proxy.down().await;
    let read = opened.stores.account.get(&[user(1)]).await;
    assert_eq!(kind(read.map(drop)), StoreErrorKind::Unavailable);
    let failure = health.current_failure().unwrap();
    assert!(failure.cause.starts_with("mysql"), "{failure:?}");
    proxy.set(ProxyMode::Pass);
    let begun = Instant::now();
    while health.current_failure().is_some() {
        opened.lasting.ping().await;
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the recovery is not noticed"
        );
    }
    opened.lasting.close().await;
}

/// Law 12. Regression: only connecting had a deadline, and a server that froze after that hung the
/// start for ever.
pub(super) async fn a_server_that_freezes_during_a_start_ends_it(servers: BackendAddresses) {
    /// A part of each statement of a start that can be told from the others, in their order.
    const STATEMENTS: [&str; 8] = [
        "CREATE TABLE IF NOT EXISTS",
        "SELECT version, success",
        "SHOW TABLES LIKE",
        "SELECT version FROM",
        "'Prepared_stmt_count'",
        "('epoch'",
        "('cluster'",
        "WHERE name = 'cluster'",
    ];
    let place = TestDatabase::new(&servers).await;
    let starts = STATEMENTS.map(|statement| {
        let mut config = place.config.clone();
        async move {
            let (proxy, url) = through(&config.mysql.url).await;
            config.mysql.url = url;
            config.mysql.slow_deadline = Duration::from_secs(3);
            proxy.set(ProxyMode::FreezeAt(statement));
            let start = async {
                migrate(&config.mysql).await?;
                let opened = open_lasting(&config.mysql, Arc::new(ManualClock::default()));
                opened.await.map(drop)
            };
            let ended = timeout(Duration::from_mins(1), start).await;
            let ended = ended.unwrap_or_else(|_| panic!("{statement}: the start hangs"));
            let text = ended.unwrap_err().to_string();
            assert!(text.contains("no answer within 3s"), "{statement}: {text}");
            assert_eq!(proxy.struck(), 1, "{statement} was not sent");
        }
    });
    join_all(starts).await;
}
