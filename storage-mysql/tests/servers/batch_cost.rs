//! Cost of a batch in statements and time.

use std::time::Duration;

use futures_util::future::join_all;
use gimlet_core::events::{EventHooks, HookName, HookTarget};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::AppendRequest;
use gimlet_kit::backend::BackendAddresses;
use tokio::time::Instant;

use crate::helpers::{append, device, send, stored, through, user};
use crate::support::TestDatabase;

/// Statements of a batch per started thousand rows, transaction control included.
const C: u64 = 24;

pub(super) async fn a_batch_costs_few_statements(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let opened = place.open().await;
    let many: Vec<u64> = (1..=1_000).collect();
    let hooks = EventHooks::new(vec![HookTarget::new(HookName::new("a").unwrap(), true)]);
    let hooked = |send: AppendRequest| AppendRequest {
        hooks: hooks.clone(),
        ..send
    };
    let shapes: [(&str, Vec<AppendRequest>); 7] = [
        ("1 to one, no key", vec![send(&[1, 2], "hi", None)]),
        ("1 to one", vec![send(&[1, 2], "hi", Some("a"))]),
        (
            "512 to one",
            (0..512)
                .map(|n| send(&[2 * n + 1, 2 * n + 2], "hi", Some(&format!("b{n}"))))
                .collect(),
        ),
        (
            "512 to the same one",
            (0..512)
                .map(|n| send(&[1, 2], "hi", Some(&format!("c{n}"))))
                .collect(),
        ),
        (
            "333 to three",
            (0..333)
                .map(|n| send(&[n + 1, n + 2, n + 3], "hi", Some(&format!("d{n}"))))
                .collect(),
        ),
        (
            "512 to one with a hook",
            (0..512)
                .map(|n| hooked(send(&[n + 1, n + 2], "hi", Some(&format!("f{n}")))))
                .collect(),
        ),
        (
            "5 to a thousand",
            (0..5)
                .map(|n| send(&many, "hi", Some(&format!("e{n}"))))
                .collect(),
        ),
    ];
    for (name, batch) in shapes {
        let rows: usize = batch.iter().map(|it| it.recipients.len()).sum();
        let before = opened.lasting.statements();
        opened.stores.inbox.append(&batch).await.unwrap();
        let statements = opened.lasting.statements() - before;
        println!("{name}: {rows} rows, {statements} statements");
        let most = C * rows.div_ceil(1_000) as u64;
        assert!(statements <= most, "{name}: {statements} > {most}");
    }
}

/// A page of a legacy client has room for one small message; the inbox is full of large ones.
pub(super) async fn a_page_reads_no_body_that_it_has_no_room_for(servers: BackendAddresses) {
    const LARGE: usize = 60 << 10;
    let mut place = TestDatabase::new(&servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    let s = place.open().await.stores;
    let large = "x".repeat(LARGE);
    for n in 0..51 {
        // Some bodies are stored in the entry, others are shared by three entries.
        let to: &[u64] = if n % 2 == 0 { &[1, 2] } else { &[1, 2, 3] };
        stored(&append(&s, &send(to, &large, None)).await.unwrap());
    }
    for (bytes, items) in [(1_022, 1), (3 * LARGE - 1, 3), (3 * LARGE, 4)] {
        let before = proxy.received();
        let limit = PageLimit { items: 50, bytes };
        let page = s.inbox.after(user(2), Seq::ZERO, limit).await.unwrap();
        assert_eq!(page.items.len(), items, "{bytes} bytes");
        assert!(page.more);
        assert_eq!(page.items[items - 1].message.content.len(), LARGE);
        let read = proxy.received() - before;
        assert!(
            read < items * LARGE + 16_384,
            "a page of {bytes} read {read} bytes"
        );
    }
}

/// After a restart, all clients sign in at once.
pub(super) async fn concurrent_token_lookups_share_statements(servers: BackendAddresses) {
    const ASKS: u64 = 2_000;
    let place = TestDatabase::new(&servers).await;
    let opened = place.open().await;
    let before = opened.lasting.statements();
    let asks = (1..=ASKS).map(|n| opened.stores.account.token(user(n), device(n)));
    for found in join_all(asks).await {
        assert_eq!(found.unwrap(), None);
    }
    let statements = opened.lasting.statements() - before;
    println!("{ASKS} tokens, {statements} statements");
    assert!(statements <= ASKS / 20, "{statements} statements");
}

/// gim loses messages in exactly this situation (M-2): the reader polls as fast as it can.
pub(super) async fn eight_writers_and_a_reader_see_no_hole(servers: BackendAddresses) {
    const SPAN: Duration = Duration::from_secs(3);
    let place = TestDatabase::new(&servers).await;
    let opened = place.open().await;
    let start = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let s = opened.stores.clone();
        writers.spawn(async move {
            let mut sent = 0;
            while start.elapsed() < SPAN {
                let one = send(&[1], &format!("{writer} {sent}"), None);
                stored(&append(&s, &one).await.unwrap());
                sent += 1;
            }
            sent
        });
    }
    let (mut at, mut polls) = (Seq::ZERO, 0);
    while start.elapsed() < SPAN {
        let read = opened.stores.inbox.after(user(1), at, PageLimit::items(50));
        for entry in read.await.unwrap().items {
            assert_eq!(entry.seq, at.next(), "a hole (law 2)");
            at = entry.seq;
        }
        polls += 1;
    }
    let sent: u64 = writers.join_all().await.iter().sum();
    let rate = sent * 1_000 / u64::try_from(start.elapsed().as_millis()).unwrap();
    println!("8 writers to one user: {rate} sends/s, {polls} polls, 0 holes");
    assert_eq!(
        opened.stores.seq.heads(&[user(1)]).await.unwrap()[0]
            .head
            .get(),
        sent
    );
    assert!(
        rate > 100,
        "{rate} sends/s is far too slow, also for a busy machine"
    );
}
