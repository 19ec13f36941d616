//! Outages, hangs and data losses of Redis.
//!
//! Long because each case needs Redis in a different state, and all cases share the helpers that
//! produce it.

use std::future::poll_fn;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use gimlet_core::business::OpenBusiness;
use gimlet_core::delivery::ConnectionDelivery;
use gimlet_core::envelope::Envelope;
use gimlet_core::gateway::{ClientConnection, SignInRequest};
use gimlet_core::hub::ConnectionWork;
use gimlet_core::id::{DeviceId, Generation, MessageId, NodeId, RoomId};
use gimlet_core::memory::{self, RoomBounds};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::node::NodeBuilder;
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{
    ROUTE_LIFETIME, RoomItem, RoomSink, Route, RouteClaimOutcome, StoreErrorKind,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::proxy::ProxyMode;
use gimlet_storage_mysql::{RedisConfig, RedisStores, open_live};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::helpers::{kind, through, user};
use crate::support::certificates;

/// Longer than a silent feed connection is trusted.
const OUTAGE: Duration = Duration::from_secs(4);

fn room() -> RoomId {
    RoomId::new(5).unwrap()
}

fn config(url: &str) -> RedisConfig {
    RedisConfig {
        prefix: format!("test:{:x}:", rand::random::<u64>()),
        ..RedisConfig::new(url)
    }
}

fn envelope(content: &str) -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::System,
        receiver: MessageReceiver::Room(room()),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(Bytes::from(content.to_owned())),
        sent_at: UnixTimestamp(0),
        unknown: UnknownFields::NONE,
    };
    Arc::new(Envelope::new(
        Arc::new(message),
        Arc::new(UserProfile::default()),
        0,
    ))
}

/// Sink that records its calls.
#[derive(Debug, Default)]
struct RecordingSink {
    recorded: Mutex<(Vec<Arc<RoomItem>>, usize)>,
    news: Notify,
}

impl RoomSink for RecordingSink {
    fn deliver(&self, item: &Arc<RoomItem>) {
        self.recorded.lock().unwrap().0.push(Arc::clone(item));
        self.news.notify_one();
    }

    fn interrupted(&self, it: RoomId) {
        assert_eq!(it, room());
        self.recorded.lock().unwrap().1 += 1;
        self.news.notify_one();
    }
}

impl RecordingSink {
    fn interruptions(&self) -> usize {
        self.recorded.lock().unwrap().1
    }

    async fn until(&self, enough: impl Fn(&[Arc<RoomItem>], usize) -> bool) {
        loop {
            {
                let told = self.recorded.lock().unwrap();
                if enough(&told.0, told.1) {
                    return;
                }
            }
            self.news.notified().await;
        }
    }
}

async fn say(live: &RedisStores, content: &str) -> Arc<RoomItem> {
    live.room
        .publish(room(), envelope(content), true)
        .await
        .unwrap()
}

/// Retries until Redis answers again, for at most 10 s; returns the time it took.
async fn recovered(live: &RedisStores) -> Duration {
    let (start, node) = (Instant::now(), NodeId::boot("probe"));
    while live.route.renew(&node).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "redis does not recover"
        );
    }
    start.elapsed()
}

pub(super) async fn a_room_feed_that_breaks_says_so(servers: BackendAddresses) {
    let (proxy, url) = through(&servers.redis).await;
    let near = config(&url);
    let live = open_live(&near, None).unwrap();
    // Another node, with a connection that bypasses the proxy.
    let far = open_live(
        &RedisConfig {
            prefix: near.prefix.clone(),
            ..config(&servers.redis)
        },
        None,
    );
    let far = far.unwrap();
    let ear = Arc::new(RecordingSink::default());
    live.room
        .subscribe(room(), Arc::clone(&ear) as _)
        .await
        .unwrap();
    say(&far, "1").await;
    ear.until(|items, _| items.len() == 1).await;
    for _ in 0..3 {
        let before = ear.interruptions();
        proxy.down().await;
        say(&far, "unheard").await;
        proxy.set(ProxyMode::Pass);
        ear.until(|_, now| now > before).await;
        let published = say(&far, "heard").await;
        ear.until(|items, _| items.last().map(|it| it.seq) == Some(published.seq))
            .await;
        // The history has the missed message.
        let history = far
            .room
            .history(room(), published.seq.prev(), PageLimit::items(10))
            .await
            .unwrap();
        assert_eq!(history.items[0].envelope.message.content.0, "unheard");
    }
    // A silent connection is noticed too.
    let before = ear.interruptions();
    proxy.set(ProxyMode::Freeze);
    say(&far, "unheard").await;
    tokio::time::sleep(OUTAGE).await;
    proxy.set(ProxyMode::Pass);
    ear.until(|_, now| now > before).await;
    let published = say(&far, "heard").await;
    ear.until(|items, _| items.last().map(|it| it.seq) == Some(published.seq))
        .await;
}

/// Regression: the sink of a caller that gave up stayed in the room. It received messages that no
/// one had subscribed to, and later sinks took the room for subscribed.
pub(super) async fn a_subscription_that_is_given_up_leaves_nothing(servers: BackendAddresses) {
    let (proxy, url) = through(&servers.redis).await;
    let live = open_live(&config(&url), None).unwrap();
    recovered(&live).await;
    let (first, second) = (
        Arc::new(RecordingSink::default()),
        Arc::new(RecordingSink::default()),
    );
    proxy.set(ProxyMode::FreezeAt("SSUBSCRIBE"));
    let subscribing = live.room.subscribe(room(), Arc::clone(&first) as _);
    let frozen = async {
        while proxy.struck() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = subscribing => panic!("{done:?} while redis is frozen"),
        () = frozen => {}
    }
    proxy.set(ProxyMode::Pass);
    let sink = Arc::clone(&second) as _;
    live.room.subscribe(room(), sink).await.unwrap();
    say(&live, "hi").await;
    second.until(|items, _| items.len() == 1).await;
    assert!(first.recorded.lock().unwrap().0.is_empty());
}

pub(super) async fn a_redis_that_is_away_fails_fast_and_comes_back(servers: BackendAddresses) {
    let (proxy, url) = through(&servers.redis).await;
    proxy.set(ProxyMode::Down);
    // Redis may be down when a node starts.
    let live = open_live(&config(&url), None).unwrap();
    let ear = Arc::new(RecordingSink::default());
    assert_eq!(
        kind(live.route.of(&[user(1)]).await),
        StoreErrorKind::Unavailable
    );
    let refused = live.room.subscribe(room(), Arc::clone(&ear) as _).await;
    assert_eq!(kind(refused), StoreErrorKind::Unavailable);
    proxy.set(ProxyMode::Pass);
    println!(
        "redis was down: recovered after {:?}",
        recovered(&live).await
    );
    let start = Instant::now();
    while live
        .room
        .subscribe(room(), Arc::clone(&ear) as _)
        .await
        .is_err()
    {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "rooms do not recover"
        );
    }
    say(&live, "hi").await;
    ear.until(|items, _| items.len() == 1).await;

    proxy.set(ProxyMode::Freeze);
    let start = Instant::now();
    assert!(live.route.of(&[user(1)]).await.is_err());
    assert!(
        start.elapsed() < Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
    // After the first failed call, calls fail without waiting.
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(
            kind(live.route.of(&[user(1)]).await),
            StoreErrorKind::Unavailable
        );
    }
    assert!(
        start.elapsed() < Duration::from_millis(150),
        "{:?}",
        start.elapsed()
    );
    proxy.set(ProxyMode::Pass);
    println!(
        "redis was frozen: recovered after {:?}",
        recovered(&live).await
    );
}

pub(super) async fn a_lease_ends_by_itself(servers: BackendAddresses) {
    let live = open_live(
        &RedisConfig {
            lease: Duration::from_millis(300),
            ..config(&servers.redis)
        },
        None,
    );
    let live = live.unwrap();
    let node = NodeId::boot("a");
    assert!(!live.route.renew(&node).await.unwrap().held);
    let route = Route {
        device: DeviceId::new(7).unwrap(),
        user: user(1),
        generation: Generation(1),
        node: node.clone(),
        client: "127.0.0.1:9".parse().ok(),
    };
    assert_eq!(
        live.route.claim(&route).await.unwrap(),
        RouteClaimOutcome::Claimed(None)
    );
    assert!(live.route.renew(&node).await.unwrap().held);
    assert_eq!(live.route.of(&[user(1)]).await.unwrap(), [route]);
    assert_eq!(
        live.route.nodes().await.unwrap(),
        std::slice::from_ref(&node)
    );
    let start = Instant::now();
    while !live.route.of(&[user(1)]).await.unwrap().is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the lease does not end"
        );
    }
    assert_eq!(live.route.nodes().await.unwrap(), []);
    assert!(
        !live.route.renew(&node).await.unwrap().held,
        "the ended lease is still held"
    );
}

pub(super) async fn a_room_keeps_within_its_bounds(servers: BackendAddresses) {
    let kept = |live: RedisStores| async move {
        let history = live
            .room
            .history(room(), Seq::ZERO, PageLimit::items(1_000))
            .await
            .unwrap();
        history
            .items
            .iter()
            .map(|it| it.seq.get())
            .collect::<Vec<_>>()
    };
    let bounds = |messages, bytes, age| RoomBounds {
        messages,
        bytes,
        age,
        ..RoomBounds::default()
    };
    let hour = Duration::from_hours(1);
    let with = |room| {
        open_live(
            &RedisConfig {
                room,
                ..config(&servers.redis)
            },
            None,
        )
        .unwrap()
    };

    let few = with(bounds(3, 1 << 20, hour));
    for n in 0..10 {
        say(&few, &format!("{n}")).await;
    }
    assert_eq!(kept(few).await, [8, 9, 10]);

    let small = with(bounds(100, 1_000, hour));
    for _ in 0..10 {
        say(&small, &"x".repeat(272)).await;
    }
    assert_eq!(kept(small.clone()).await, [9, 10]);
    say(&small, &"x".repeat(2_000)).await;
    assert_eq!(
        kept(small.clone()).await,
        [0; 0],
        "it alone is too large to keep"
    );
    say(&small, "y").await;
    assert_eq!(kept(small).await, [12]);

    let brief = with(bounds(100, 1 << 20, Duration::from_millis(200)));
    say(&brief, "old").await;
    let start = Instant::now();
    while !kept(brief.clone()).await.is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the message never expires"
        );
    }
    say(&brief, "new").await;
    assert_eq!(kept(brief).await, [2], "the numbers go on");
}

pub(super) async fn another_stream_begins_when_the_numbers_are_lost(servers: BackendAddresses) {
    let config = config(&servers.redis);
    let live = open_live(&config, None).unwrap();
    let ear = Arc::new(RecordingSink::default());
    live.room
        .subscribe(room(), Arc::clone(&ear) as _)
        .await
        .unwrap();
    let before = say(&live, "1").await;
    say(&live, "2").await;
    let client = redis::Client::open(servers.redis.as_str()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let keys = ["meta", "kept", "marks"].map(|it| format!("{}{{r:5}}:{it}", config.prefix));
    let gone: u64 = redis::cmd("DEL")
        .arg(&keys)
        .query_async(&mut conn)
        .await
        .unwrap();
    assert_eq!(gone, 3, "the keys differ from the table in keys.rs");
    let after = say(&live, "3").await;
    assert_ne!(after.stream, before.stream);
    assert_eq!(after.seq.get(), 1);
    ear.until(|items, _| items.len() == 3).await;
    let history = live
        .room
        .history(room(), Seq::ZERO, PageLimit::items(10))
        .await
        .unwrap();
    assert_eq!((history.items.len(), history.stream), (1, after.stream));
}

/// A connection may live longer than Redis keeps a route that is not claimed again.
pub(super) async fn a_repeated_claim_renews_the_life_of_a_route(servers: BackendAddresses) {
    let config = config(&servers.redis);
    let live = open_live(&config, None).unwrap();
    let node = NodeId::boot("a");
    live.route.renew(&node).await.unwrap();
    let route = Route {
        device: DeviceId::new(1).unwrap(),
        user: user(1),
        generation: Generation(1),
        node,
        client: None,
    };
    let client = redis::Client::open(servers.redis.as_str()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}{{u:1}}:routes", config.prefix);
    for _ in 0..2 {
        let claimed = live.route.claim(&route).await.unwrap();
        assert_eq!(claimed, RouteClaimOutcome::Claimed(None));
        let left = redis::cmd("PTTL").arg(&key).take();
        let left: u64 = left.query_async(&mut conn).await.unwrap();
        assert!(
            u128::from(left) > ROUTE_LIFETIME.as_millis() * 9 / 10,
            "{left}"
        );
        // The life is nearly over.
        let short = redis::cmd("PEXPIRE").arg(&key).arg(60_000).take();
        let (): () = short.query_async(&mut conn).await.unwrap();
    }
}

/// Reads a connection's deliveries until it has `n` messages.
async fn follow(connection: &ClientConnection, n: usize) {
    let mut got = 0;
    while got < n {
        // A wake-up may bring a new deadline instead of work.
        let again = Instant::now() + Duration::from_millis(50);
        let work = poll_fn(|cx| connection.poll_work(cx, Instant::now()));
        match timeout_at(again, work).await {
            Ok(ConnectionWork::Deliver(batch)) => {
                got += batch.iter().flat_map(ConnectionDelivery::seqs).count();
            }
            Ok(ConnectionWork::Read) => connection.read().await.unwrap(),
            Ok(ConnectionWork::Close(reason)) => panic!("{reason:?}"),
            Err(_) => {}
        }
    }
}

/// Regression: 60 subscribers of a room that keeps 64 messages of 60 KiB read all of it by one
/// script each. For 15 s no subscriber got anything, pushes to other rooms were unavailable, and
/// leases were not renewed.
pub(super) async fn d2_a_busy_room_leaves_time_for_everything_else(servers: BackendAddresses) {
    const FOLLOWERS: u64 = 60;
    const KEPT: usize = 64;
    let live = open_live(&config(&servers.redis), None).unwrap();
    let mut stores = memory::stores();
    (stores.room, stores.route) = (Arc::clone(&live.room), Arc::clone(&live.route));
    let node = NodeBuilder::new(stores, Arc::new(OpenBusiness)).start();
    let large = "x".repeat(60 * 1024);
    for _ in 0..KEPT {
        say(&live, &large).await;
    }
    let mut followers = Vec::new();
    for n in 1..=FOLLOWERS {
        let request = SignInRequest {
            user: user(n),
            device: DeviceId::new(n).unwrap(),
            token: "any".into(),
            client: None,
            protocol: 1,
            legacy: false,
            echo: false,
            resume_after: Seq::ZERO,
        };
        let connection = node.gateway().sign_in(request).await.unwrap();
        connection.synced(Seq::ZERO, Seq::ZERO, false);
        followers.push(connection);
    }
    let all = async {
        join_all(followers.iter().map(async |follower| {
            follower.subscribe(Some(room()), Seq::new(1)).await.unwrap();
            follow(follower, KEPT).await;
        }))
        .await;
    };
    let (aside, probe) = (RoomId::new(6).unwrap(), NodeId::boot("probe"));
    let (mut done, mut failed) = (0, 0);
    let rest = async {
        loop {
            let pushed = live.room.publish(aside, envelope("aside"), false).await;
            let renewed = live.route.renew(&probe).await;
            if pushed.is_ok() && renewed.is_ok() {
                done += 1;
            } else {
                failed += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = all => {}
        () = rest => {}
        () = tokio::time::sleep(Duration::from_mins(1)) => panic!("the followers get no messages"),
    }
    println!("beside a busy room {done} pushes and renewals, {failed} failed");
    assert!(
        failed * 10 <= done + failed,
        "{failed} failed, {done} did not"
    );
    drop(followers);
    node.stop().await;
}

pub(super) async fn all_rooms_of_a_node_are_bounded_together(servers: BackendAddresses) {
    let live = open_live(
        &RedisConfig {
            room: RoomBounds {
                total_bytes: 10_000,
                ..RoomBounds::default()
            },
            ..config(&servers.redis)
        },
        None,
    );
    let live = live.unwrap();
    let mut kept = 0;
    for n in 1..=40 {
        let id = RoomId::new(n).unwrap();
        let envelope = envelope(&"x".repeat(1_000));
        live.room.publish(id, envelope, true).await.unwrap();
        let history = live.room.history(id, Seq::ZERO, PageLimit::items(10)).await;
        let history = history.unwrap();
        assert_eq!(history.head.get(), 1, "it is published");
        kept += history.items.len();
    }
    assert!((5..=9).contains(&kept), "{kept} of 40 were kept");
}

/// A separate Redis server; it is killed when this is dropped.
struct PrivateRedis(Child);

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) async fn a_private_ca_of_redis_is_trusted_if_it_is_named(servers: BackendAddresses) {
    drop(servers);
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), "right");
    certificates(folder.path(), "wrong");
    let file = |name: &str| folder.path().join(name);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let redis = Command::new("redis-server")
        .args(["--port", "0", "--tls-port", &port.to_string()])
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--tls-auth-clients",
            "no",
        ])
        .arg("--tls-cert-file")
        .arg(file("right.pem"))
        .arg("--tls-key-file")
        .arg(file("right.key"))
        .arg("--tls-ca-cert-file")
        .arg(file("right-ca.pem"))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn();
    let _redis = PrivateRedis(redis.unwrap());
    let near = RedisConfig {
        ca: Some(file("right-ca.pem")),
        ..config(&format!("rediss://127.0.0.1:{port}/0"))
    };
    let live = open_live(&near, None).unwrap();
    recovered(&live).await;
    // The feed's connection uses TLS too.
    let ear = Arc::new(RecordingSink::default());
    let sink = Arc::clone(&ear) as _;
    live.room.subscribe(room(), sink).await.unwrap();
    say(&live, "hi").await;
    ear.until(|items, _| items.len() == 1).await;
    // A certificate of another CA, or without a configured CA, is not trusted.
    for ca in [Some(file("wrong-ca.pem")), None] {
        let stranger = open_live(&RedisConfig { ca, ..near.clone() }, None).unwrap();
        let renewed = stranger.route.renew(&NodeId::boot("probe")).await;
        assert!(renewed.is_err(), "a certificate of another CA is trusted");
    }
    let none = open_live(
        &RedisConfig {
            ca: Some(file("none.pem")),
            ..near
        },
        None,
    );
    let text = none.unwrap_err().to_string();
    assert!(
        text.contains("none.pem") && text.contains("redis_ca"),
        "{text}"
    );
}

/// Deletes the keys with this prefix, as a data loss of Redis does.
async fn empty(servers: &BackendAddresses, prefix: &str) {
    let client = redis::Client::open(servers.redis.as_str()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let keys = redis::cmd("KEYS").arg(format!("{prefix}*")).take();
    let keys: Vec<String> = keys.query_async(&mut conn).await.unwrap();
    let gone = redis::cmd("DEL").arg(&keys).take();
    let gone: usize = gone.query_async(&mut conn).await.unwrap();
    assert_eq!(gone, keys.len());
}

/// D11: a node that starts after the loss holds its own lease, and cannot infer the loss from it.
pub(super) async fn an_emptied_redis_is_reported_to_a_new_node(servers: BackendAddresses) {
    let lease = Duration::from_millis(1_500);
    let config = RedisConfig {
        lease,
        ..config(&servers.redis)
    };
    let settled = async || {
        let live = open_live(&config, Some(7)).unwrap();
        let node = NodeId::boot("fresh");
        let begun = Instant::now();
        while live.route.renew(&node).await.unwrap().forgot {
            assert!(begun.elapsed() < Duration::from_secs(10), "it stays new");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let first = open_live(&config, Some(7)).unwrap();
    assert!(first.route.renew(&NodeId::boot("a")).await.unwrap().forgot);
    settled().await;
    empty(&servers, &config.prefix).await;
    let fresh = open_live(&config, Some(7)).unwrap();
    let renewed = fresh.route.renew(&NodeId::boot("b")).await.unwrap();
    assert!(renewed.forgot);
    settled().await;
}

/// Regression: a private message was delivered to a user of another cluster on the same Redis.
pub(super) async fn a10_a_second_cluster_is_refused_and_the_right_one_is_not_locked_out(
    servers: BackendAddresses,
) {
    let config = config(&servers.redis);
    let right = open_live(&config, Some(7)).unwrap();
    right.check().await.unwrap();
    let node = NodeId::boot("right");
    right.route.renew(&node).await.unwrap();
    let wrong = open_live(&config, Some(8)).unwrap();
    let refused = wrong.check().await.unwrap_err().to_string();
    for word in [
        "0000000000000007",
        "0000000000000008",
        "redis_prefix",
        &config.prefix,
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    // A node that runs in spite of the refusal reads and changes nothing.
    assert_eq!(kind(wrong.route.nodes().await), StoreErrorKind::Unavailable);
    assert_eq!(
        kind(wrong.route.renew(&node).await),
        StoreErrorKind::Unavailable
    );
    let ear = Arc::new(RecordingSink::default());
    let subscribed = wrong.room.subscribe(room(), Arc::clone(&ear) as _).await;
    assert_eq!(kind(subscribed), StoreErrorKind::Unavailable);
    let said = wrong.room.publish(room(), envelope("x"), true).await;
    assert_eq!(kind(said.map(drop)), StoreErrorKind::Unavailable);
    let failure = wrong.health().current_failure().unwrap();
    assert!(
        failure.refused && failure.cause.contains("redis_prefix"),
        "{failure:?}"
    );
    // A node without a database accepts the identity that it finds.
    let connect = open_live(&config, None).unwrap();
    connect.check().await.unwrap();
    assert_eq!(connect.cluster().load(Ordering::Relaxed), 7);
    // A total loss of Redis does not lock the right cluster out.
    empty(&servers, &config.prefix).await;
    right.route.renew(&node).await.unwrap();
    right.check().await.unwrap();
    assert!(wrong.check().await.is_err());
    assert_eq!(right.route.nodes().await.unwrap(), [node]);
}

/// Regression: the log repeated "lease not renewed: unavailable" without the cause.
pub(super) async fn p14_a_redis_that_refuses_is_named_with_its_cause(servers: BackendAddresses) {
    let url = servers.redis.replace("redis://", "redis://nobody:wrong@");
    let live = open_live(&config(&url), Some(7)).unwrap();
    let refused = live.route.renew(&NodeId::boot("a")).await;
    assert_eq!(kind(refused), StoreErrorKind::Unavailable);
    let failure = live.health().current_failure().unwrap();
    assert!(failure.refused, "{failure:?}");
    assert!(failure.cause.contains("uthentication"), "{failure:?}");
    assert!(!live.health().has_answered());
}
