//! Connections to MySQL: cut, silent, too few, redirected to another server, with TLS.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gimlet_core::store::{IdScope, StoreErrorKind, StoreSet};
use gimlet_core::time::SystemClock;
use gimlet_kit::backend::{BackendAddresses, PrivateBackend};
use gimlet_kit::database::{SqlConnection, database_url};
use gimlet_kit::proxy::{FaultProxy, ProxyMode};
use gimlet_storage_mysql::{migrate, open, open_lasting};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error_numbers::warm_up;
use crate::helpers::{append, contents, device, kind, send, stored, through, user};
use crate::support::{TestDatabase, certificates};

/// Longer than the pool trusts an idle connection without a test.
const SILENCE: Duration = Duration::from_millis(2_100);

/// Makes one call of each kind; each must succeed at the first attempt.
async fn each_kind(s: &StoreSet, round: u64, between: impl AsyncFn()) {
    between().await;
    s.seq.heads(&[user(1)]).await.unwrap();
    between().await;
    stored(
        &append(s, &send(&[1, 2], "hi", Some(&format!("k{round}"))))
            .await
            .unwrap(),
    );
    between().await;
    s.seq.reserve(IdScope::Device, 1).await.unwrap();
    between().await;
    s.account.token(user(1), device(1)).await.unwrap();
    between().await;
    s.inbox
        .trim(user(2), gimlet_core::seq::Seq::new(round))
        .await
        .unwrap();
}

pub(super) async fn connections_cut_while_idle_fail_no_call(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    for round in 0..4 {
        each_kind(&s, round, async || {
            warm_up(&s, &proxy, 12).await;
            proxy.cut().await;
        })
        .await;
    }
    assert_eq!(contents(&s, 1).await.len(), 4);
}

pub(super) async fn silent_connections_fail_no_call(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    warm_up(&s, &proxy, 12).await;
    // A firewall drops the connections without notifying either end.
    proxy.silence();
    tokio::time::sleep(SILENCE).await;
    stored(&append(&s, &send(&[1, 2], "hi", Some("k"))).await.unwrap());
    s.seq.heads(&[user(1)]).await.unwrap();
}

pub(super) async fn fewer_connections_than_wanted_serve_every_call(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let name = format!("few_{:08x}", rand::random::<u32>());
    let database = place.database.name.clone();
    let mut admin = place.admin().await;
    admin
        .runs(&format!(
            "CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'p' WITH MAX_USER_CONNECTIONS 3"
        ))
        .await;
    admin
        .runs(&format!("GRANT ALL ON {database}.* TO {name}@'127.0.0.1'"))
        .await;
    place.config.mysql.url = place
        .config
        .mysql
        .url
        .replace("gimlet:gimlet@", &format!("{name}:p@"));
    // Time is irrelevant here: the deadline only has to exceed the waits of eight attempts.
    place.config.mysql.deadline = Duration::from_mins(1);
    let s = place.open().await.stores;
    let sends: Vec<_> = (0..1_000)
        .map(|n| send(&[2 * n + 1, 2 * n + 2], "hi", Some(&format!("{n}"))))
        .collect();
    let users: Vec<_> = (1..=1_000).map(user).collect();
    let (sent, read) = tokio::join!(
        join_all(sends.iter().map(|send| append(&s, send))),
        join_all(users.iter().map(|it| s.seq.heads(std::slice::from_ref(it)))),
    );
    for done in sent {
        stored(&done.unwrap());
    }
    for done in read {
        done.unwrap();
    }
    drop(s);
    admin.runs(&format!("DROP USER {name}@'127.0.0.1'")).await;
}

pub(super) async fn a_server_gone_read_only_is_left_for_the_one_behind_the_address(
    servers: BackendAddresses,
) {
    // The old primary is a private server; the shared server replaces it.
    let old = PrivateBackend::mysql(&servers);
    let new = TestDatabase::new(&servers).await;
    // The shared server has an epoch of its own, because an epoch is drawn when a store is first
    // opened.
    let mut elsewhere = new.config.clone();
    elsewhere.redis.prefix.push_str("new:");
    let opened = open(&elsewhere, Arc::new(SystemClock)).await.unwrap();
    opened.lasting.close().await;
    let database = new.database.name.clone();
    let mut admin = SqlConnection::connect(&old.servers.mysql).await;
    admin
        .runs(&format!(
            "CREATE DATABASE {database}; CREATE USER plain@'127.0.0.1' IDENTIFIED BY 'gimlet'; \
         GRANT ALL ON {database}.* TO plain@'127.0.0.1'"
        ))
        .await;
    let mut successor = new.admin().await;
    successor
        .runs(&format!(
            "CREATE OR REPLACE USER plain@'127.0.0.1' IDENTIFIED BY 'gimlet'; \
             GRANT ALL ON {database}.* TO plain@'127.0.0.1'"
        ))
        .await;
    let mut config = new.config.clone();
    let at_old =
        database_url(&old.servers.mysql, &database).replace("gimlet:gimlet@", "plain:gimlet@");
    let (proxy, url) = through(&at_old).await;
    config.mysql.url = url;
    migrate(&config.mysql).await.unwrap();
    let s = open(&config, Arc::new(SystemClock)).await.unwrap().stores;
    for n in 0..3 {
        stored(
            &append(&s, &send(&[1, 2], "old", Some(&format!("o{n}"))))
                .await
                .unwrap(),
        );
    }
    warm_up(&s, &proxy, 8).await;
    // A hand-over in which connections stay open: on a read-only server, an account without the
    // right to write is refused with 1290.
    admin.runs("SET GLOBAL read_only = 1").await;
    let (host, _) = new
        .config
        .mysql
        .url
        .rsplit_once('@')
        .unwrap()
        .1
        .split_once('/')
        .unwrap();
    proxy.lead_to(host);
    let first = append(&s, &send(&[1, 2], "new", Some("n0"))).await.unwrap();
    assert_eq!(stored(&first), 1, "stored by the new primary");
    // No read uses the old server either: its inboxes end at the hand-over.
    for n in 1..4 {
        stored(
            &append(&s, &send(&[1, 2], "new", Some(&format!("n{n}"))))
                .await
                .unwrap(),
        );
        let of = [user(1)];
        for heads in join_all((0..16).map(|_| s.seq.heads(&of))).await {
            assert_eq!(heads.unwrap()[0].head.get(), n + 1);
        }
    }
    assert_eq!(contents(&s, 2).await, ["new"; 4]);
    successor.runs("DROP USER plain@'127.0.0.1'").await;
}

pub(super) async fn fewer_prepared_statements_than_wanted_serve_every_call(
    servers: BackendAddresses,
) {
    let private = PrivateBackend::mysql(&servers);
    let place = TestDatabase::new(&private.servers).await;
    let s = place.open().await.stores;
    // Enough statements at open; then other clients take nearly all of them.
    SqlConnection::connect(&private.servers.mysql)
        .await
        .runs("SET GLOBAL max_prepared_stmt_count = 40")
        .await;
    for size in [1_u64, 2, 4, 8, 16, 32, 64, 125] {
        let batch: Vec<_> = (0..size)
            .map(|n| send(&[2 * n + 1, 2 * n + 2], "hi", Some(&format!("{size}-{n}"))))
            .collect();
        for done in s.inbox.append(&batch).await.unwrap() {
            stored(&done);
        }
    }
    assert_eq!(contents(&s, 1).await.len(), 8);
}

pub(super) async fn an_ipv6_address_in_brackets_connects(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (before, path) = place.config.mysql.url.rsplit_once('/').unwrap();
    let (account, server) = before.rsplit_once('@').unwrap();
    let proxy = FaultProxy::at("[::1]:0", server.to_owned()).await;
    let url = format!("{account}@[::1]:{}/{path}", proxy.address.port());
    place.config.mysql.url = url;
    migrate(&place.config.mysql).await.unwrap();
    let s = place.open().await.stores;
    stored(&append(&s, &send(&[1, 2], "hi", None)).await.unwrap());
    assert!(proxy.accepted() >= 2);
}

pub(super) async fn a_private_ca_is_trusted_if_it_is_named(servers: BackendAddresses) {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), "right");
    certificates(folder.path(), "wrong");
    let file = |name: &str| folder.path().join(name);
    let private = PrivateBackend::mysql_with(
        &servers,
        &format!(
            "--ssl-ca={} --ssl-cert={} --ssl-key={}",
            file("right-ca.pem").display(),
            file("right.pem").display(),
            file("right.key").display()
        ),
    );
    let mut place = TestDatabase::new(&private.servers).await;
    SqlConnection::connect(&private.servers.mysql)
        .await
        .runs("ALTER USER gimlet@'127.0.0.1' REQUIRE SSL")
        .await;
    place.config.mysql.ca = Some(file("right-ca.pem"));
    let s = place.open().await.stores;
    stored(&append(&s, &send(&[1, 2], "hi", None)).await.unwrap());
    place.config.mysql.ca = Some(file("wrong-ca.pem"));
    let refused = open_lasting(&place.config.mysql, Arc::new(SystemClock)).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("certificate"), "{text}");
    // Without its CA, the certificate is not trusted if it is verified.
    place.config.mysql.ca = None;
    place.config.mysql.url += "&ssl-mode=VERIFY_IDENTITY";
    let refused = open_lasting(&place.config.mysql, Arc::new(SystemClock)).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("certificate"), "{text}");
    // A parameter of the address that sqlx would silently ignore is refused.
    place.config.mysql.url += "&ssl_ca=/etc/ca.pem";
    let refused = open_lasting(&place.config.mysql, Arc::new(SystemClock)).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("ssl_ca") && text.contains("ssl-ca"), "{text}");
}

/// Waits for a condition that a background task brings about.
async fn until(what: &str, condition: impl Fn() -> bool + Send + Sync) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(Duration::from_secs(10), waiting).await;
    assert!(waited.is_ok(), "{what}");
}

/// Regression: retired and expired connections were dropped, and the server counted each as an
/// aborted client.
pub(super) async fn idle_connections_end_with_a_closing_message(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let opened = place.open().await;
    warm_up(&opened.stores, &proxy, 6).await;
    let (open, idle) = opened.lasting.connections();
    assert_eq!(open, idle, "no call is in progress");
    let before = proxy.quits();
    // The server turns out to accept no changes, so all connections to it are closed.
    proxy.set(ProxyMode::Fail(1290));
    stored(
        &append(&opened.stores, &send(&[1, 2], "hi", None))
            .await
            .unwrap(),
    );
    // All but the one that failed, which was in the middle of a transaction.
    until("connections ended without a closing message", || {
        proxy.quits() - before == idle - 1
    })
    .await;
}

/// Regression: attempts to connect counted as connections. At a server that granted none, nearly
/// every permit was withheld, and came back one by one, every 5 s.
pub(super) async fn a_server_that_granted_no_connection_is_used_in_full_later(
    servers: BackendAddresses,
) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    proxy.down().await;
    proxy.set(ProxyMode::Refuse(1040));
    let of = [user(1)];
    for done in join_all((0..64).map(|_| s.seq.heads(&of))).await {
        assert_eq!(kind(done), StoreErrorKind::Unavailable);
    }
    proxy.set(ProxyMode::Pass);
    let all = timeout(Duration::from_secs(20), warm_up(&s, &proxy, 12)).await;
    assert!(all.is_ok(), "{} connections of 12", proxy.links());
}

/// Regression: a connection that was begun before a hand-over and completed after it counted as
/// new, and stayed in use with the server that had been left.
pub(super) async fn a_connection_begun_before_a_hand_over_is_not_kept(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    // Time is irrelevant here: one connection stays frozen for a while.
    place.config.mysql.deadline = Duration::from_mins(1);
    let opened = place.open().await;
    let s = &opened.stores;
    proxy.set(ProxyMode::FreezeAt("SHOW SESSION VARIABLES"));
    let mut calls = JoinSet::new();
    while proxy.struck() == 0 {
        if calls.len() < 64 {
            let seq = Arc::clone(&s.seq);
            calls.spawn(async move { seq.heads(&[user(1)]).await });
        }
        while calls.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    while calls.len() > 1 {
        calls.join_next().await.unwrap().unwrap().unwrap();
    }
    // Another connection finds that the server accepts no changes.
    proxy.set(ProxyMode::Fail(1290));
    stored(&append(s, &send(&[1, 2], "hi", None)).await.unwrap());
    assert_eq!(proxy.struck(), 2);
    proxy.set(ProxyMode::Pass);
    // The frozen connection completes. Its call is served by the one made after the hand-over.
    calls.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(opened.lasting.connections(), (1, 1));
}
