//! Injects every error number that a running server gives, each once.

use futures_util::future::join_all;
use gimlet_core::store::{StoreErrorKind, StoreSet};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::proxy::{FaultProxy, ProxyMode};
use gimlet_storage_mysql::{ERROR_NUMBERS, ErrorScope};

use crate::helpers::{append, contents, kind, send, stored, through, user};
use crate::support::TestDatabase;

/// Makes calls until the pool has this many connections.
pub(crate) async fn warm_up(s: &StoreSet, proxy: &FaultProxy, connections: usize) {
    while proxy.links() < connections {
        let heads = (0..64).map(|n| s.seq.heads(std::slice::from_ref(&USERS[n % 2])));
        let heads: Vec<_> = heads.collect();
        for head in join_all(heads).await {
            head.unwrap();
        }
    }
}

static USERS: std::sync::LazyLock<[gimlet_core::id::UserId; 2]> =
    std::sync::LazyLock::new(|| [user(1), user(2)]);

pub(super) async fn every_number_does_what_its_scope_says(servers: BackendAddresses) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    let mut sent = Vec::new();
    for (number, name, scope) in ERROR_NUMBERS {
        warm_up(&s, &proxy, 3).await;
        let before = (proxy.links(), proxy.accepted());
        let text = format!("{number}");
        let one = send(&[1, 2], &text, Some(&text));
        proxy.set(ProxyMode::Fail(*number));
        let struck = proxy.struck();
        let done = append(&s, &one).await;
        assert_eq!(proxy.struck(), struck + 1, "{number} was not injected");
        proxy.set(ProxyMode::Pass);
        let refused = match scope {
            ErrorScope::Full => Some(StoreErrorKind::Full),
            ErrorScope::Value => Some(StoreErrorKind::Misuse),
            ErrorScope::Damaged => Some(StoreErrorKind::Corrupt),
            ErrorScope::Statement => Some(StoreErrorKind::Unavailable),
            // The caller divides the batch.
            ErrorScope::Locked => Some(StoreErrorKind::Contended),
            _ => None,
        };
        if let Some(refused) = refused {
            assert_eq!(kind(done), refused, "{number} {name}");
        } else {
            let done = done.unwrap_or_else(|error| panic!("{number} {name}: {error:?}"));
            stored(&done);
            sent.push(text);
        }
        let after = (proxy.links(), proxy.accepted());
        match scope {
            // All previous connections are closed, and the address is resolved again.
            ErrorScope::Server | ErrorScope::Statements => {
                assert!(after.1 > before.1, "{number} {name}: no new connection");
                while proxy.links() > proxy.accepted() - before.1 {
                    tokio::task::yield_now().await;
                }
            }
            // This connection is closed, the others stay in use.
            ErrorScope::Connection | ErrorScope::Crowded => {
                while proxy.links() >= before.0 + after.1 - before.1 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(
                    proxy.links() + 1,
                    before.0 + after.1 - before.1,
                    "{number} {name}"
                );
            }
            _ => assert_eq!(
                after, before,
                "{number} {name}: the connection was not kept"
            ),
        }
    }
    assert_eq!(contents(&s, 2).await, sent);
}

/// The server refuses a further connection before its greeting.
pub(super) async fn a_server_that_refuses_connections_is_used_by_those_it_grants(
    servers: BackendAddresses,
) {
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let crowded = ERROR_NUMBERS
        .iter()
        .filter(|it| it.2 == ErrorScope::Crowded);
    for (number, name, _) in crowded {
        let s = place.open().await.stores;
        proxy.set(ProxyMode::Refuse(*number));
        let sends: Vec<_> = (0..40).map(|_| send(&[1, 2], "hi", None)).collect();
        for done in join_all(sends.iter().map(|send| append(&s, send))).await {
            done.unwrap_or_else(|error| panic!("{number} {name}: {error:?}"));
        }
        proxy.set(ProxyMode::Pass);
    }
}
