//! Redis breaks, hangs, and forgets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gimlet_core::envelope::Envelope;
use gimlet_core::id::{DeviceId, Generation, MessageId, NodeId, RoomId};
use gimlet_core::memory::RoomBounds;
use gimlet_core::message::{Content, Message, Profile, Receiver, Sender};
use gimlet_core::seq::Seq;
use gimlet_core::store::{Claim, Kind, RoomItem, RoomSink, Route};
use gimlet_core::time::Timestamp;
use gimlet_storage_mysql::{Live, RedisConfig, open_live};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::make::{kind, through, user};
use crate::proxy::Mode;
use crate::support::Servers;

/// Longer than a silent connection is believed.
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
        sender: Sender::System,
        receiver: Receiver::Room(room()),
        mentions: Vec::new(),
        kind: 1,
        content: Content(Bytes::from(content.to_owned())),
        sent_at: Timestamp(0),
    };
    Arc::new(Envelope::new(
        Arc::new(message),
        Arc::new(Profile::default()),
        0,
    ))
}

/// A sink that remembers what it was told.
#[derive(Debug, Default)]
struct Ear {
    told: Mutex<(Vec<Arc<RoomItem>>, usize)>,
    news: Notify,
}

impl RoomSink for Ear {
    fn deliver(&self, item: &Arc<RoomItem>) {
        self.told.lock().unwrap().0.push(Arc::clone(item));
        self.news.notify_one();
    }

    fn interrupted(&self, it: RoomId) {
        assert_eq!(it, room());
        self.told.lock().unwrap().1 += 1;
        self.news.notify_one();
    }
}

impl Ear {
    fn interruptions(&self) -> usize {
        self.told.lock().unwrap().1
    }

    async fn until(&self, enough: impl Fn(&[Arc<RoomItem>], usize) -> bool) {
        loop {
            {
                let told = self.told.lock().unwrap();
                if enough(&told.0, told.1) {
                    return;
                }
            }
            self.news.notified().await;
        }
    }
}

async fn say(live: &Live, content: &str) -> Arc<RoomItem> {
    live.room
        .publish(room(), envelope(content), true)
        .await
        .unwrap()
}

/// Calls until it succeeds; the time it may take is the point of the case.
async fn recovered(live: &Live) -> Duration {
    let (start, node) = (Instant::now(), NodeId::boot("probe"));
    while live.route.renew(&node).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it does not come back"
        );
    }
    start.elapsed()
}

pub(super) async fn a_room_feed_that_breaks_says_so(servers: Servers) {
    let (proxy, url) = through(&servers.redis).await;
    let near = config(&url);
    let live = open_live(&near).unwrap();
    // Another node, with a way of its own.
    let far = open_live(&RedisConfig {
        prefix: near.prefix.clone(),
        ..config(&servers.redis)
    });
    let far = far.unwrap();
    let ear = Arc::new(Ear::default());
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
        proxy.set(Mode::Pass);
        ear.until(|_, now| now > before).await;
        let heard = say(&far, "heard").await;
        ear.until(|items, _| items.last().map(|it| it.seq) == Some(heard.seq))
            .await;
        // What was missed is in the history.
        let history = far
            .room
            .history(room(), heard.seq.prev(), 10)
            .await
            .unwrap();
        assert_eq!(history.items[0].envelope.message.content.0, "unheard");
    }
    // A silent connection is noticed as well.
    let before = ear.interruptions();
    proxy.set(Mode::Freeze);
    say(&far, "unheard").await;
    tokio::time::sleep(OUTAGE).await;
    proxy.set(Mode::Pass);
    ear.until(|_, now| now > before).await;
    let heard = say(&far, "heard").await;
    ear.until(|items, _| items.last().map(|it| it.seq) == Some(heard.seq))
        .await;
}

pub(super) async fn a_redis_that_is_away_fails_fast_and_comes_back(servers: Servers) {
    let (proxy, url) = through(&servers.redis).await;
    proxy.set(Mode::Down);
    // It may be away when a node starts.
    let live = open_live(&config(&url)).unwrap();
    let ear = Arc::new(Ear::default());
    assert_eq!(kind(live.route.of(&[user(1)]).await), Kind::Unavailable);
    let refused = live.room.subscribe(room(), Arc::clone(&ear) as _).await;
    assert_eq!(kind(refused), Kind::Unavailable);
    proxy.set(Mode::Pass);
    println!("redis was away: back after {:?}", recovered(&live).await);
    let start = Instant::now();
    while live
        .room
        .subscribe(room(), Arc::clone(&ear) as _)
        .await
        .is_err()
    {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "rooms do not come back"
        );
    }
    say(&live, "hi").await;
    ear.until(|items, _| items.len() == 1).await;

    proxy.set(Mode::Freeze);
    let start = Instant::now();
    assert!(live.route.of(&[user(1)]).await.is_err());
    assert!(
        start.elapsed() < Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
    // After the first nobody waits.
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(kind(live.route.of(&[user(1)]).await), Kind::Unavailable);
    }
    assert!(
        start.elapsed() < Duration::from_millis(150),
        "{:?}",
        start.elapsed()
    );
    proxy.set(Mode::Pass);
    println!("redis was frozen: back after {:?}", recovered(&live).await);
}

pub(super) async fn a_lease_ends_by_itself(servers: Servers) {
    let live = open_live(&RedisConfig {
        lease: Duration::from_millis(300),
        ..config(&servers.redis)
    });
    let live = live.unwrap();
    let node = NodeId::boot("a");
    assert!(!live.route.renew(&node).await.unwrap());
    let route = Route {
        device: DeviceId::new(7).unwrap(),
        user: user(1),
        generation: Generation(1),
        node: node.clone(),
        client: "127.0.0.1:9".parse().ok(),
    };
    assert_eq!(
        live.route.claim(&route).await.unwrap(),
        Claim::Claimed(None)
    );
    assert!(live.route.renew(&node).await.unwrap());
    assert_eq!(live.route.of(&[user(1)]).await.unwrap(), [route]);
    assert_eq!(
        live.route.nodes().await.unwrap(),
        std::slice::from_ref(&node)
    );
    let start = Instant::now();
    while !live.route.of(&[user(1)]).await.unwrap().is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the lease lives on"
        );
    }
    assert_eq!(live.route.nodes().await.unwrap(), []);
    assert!(!live.route.renew(&node).await.unwrap(), "it registers anew");
}

pub(super) async fn a_room_keeps_within_its_bounds(servers: Servers) {
    let kept = |live: Live| async move {
        let history = live.room.history(room(), Seq::ZERO, 1_000).await.unwrap();
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
    };
    let hour = Duration::from_hours(1);
    let with = |room| {
        open_live(&RedisConfig {
            room,
            ..config(&servers.redis)
        })
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
            "it is kept for ever"
        );
    }
    say(&brief, "new").await;
    assert_eq!(kept(brief).await, [2], "the numbers go on");
}

pub(super) async fn another_stream_begins_when_the_numbers_are_lost(servers: Servers) {
    let config = config(&servers.redis);
    let live = open_live(&config).unwrap();
    let ear = Arc::new(Ear::default());
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
    assert_eq!(gone, 3, "the keys are spelled as the table says");
    let after = say(&live, "3").await;
    assert_ne!(after.stream, before.stream);
    assert_eq!(after.seq.get(), 1);
    ear.until(|items, _| items.len() == 3).await;
    let history = live.room.history(room(), Seq::ZERO, 10).await.unwrap();
    assert_eq!((history.items.len(), history.stream), (1, after.stream));
}
