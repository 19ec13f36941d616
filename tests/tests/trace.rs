//! Spans of a message on its way from the sender's socket to the recipient's, over a server in
//! memory: their order, the ids that connect them, and the sampling by sender.

#![expect(clippy::unwrap_used, reason = "a failed expectation should panic")]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use gimlet_core::id::MessageId;
use gimlet_core::trace;
use gimlet_server::Config;
use gimlet_tests::scenario::{ScenarioFixture, ScenarioStore, ScenarioUser, ScenarioWire};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Held by each test: the subscriber and the sampling belong to the whole process.
static ONE_TEST_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A span, with the points of a common clock at which it was opened and closed.
#[derive(Clone, Debug)]
struct RecordedSpan {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
    /// Position of the enclosing span in the list of all spans.
    parent: Option<usize>,
    opened: usize,
    closed: Option<usize>,
}

impl RecordedSpan {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns whether the span names this message.
    fn is_about(&self, message: &str) -> bool {
        self.field("message") == message || self.field("messages").contains(message)
    }
}

impl Visit for RecordedSpan {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// All spans of the process, in the order in which they were opened.
#[derive(Debug, Default)]
struct RecordedSpans {
    spans: Vec<RecordedSpan>,
    by_id: HashMap<u64, usize>,
    clock: usize,
}

/// Records the spans with the target of the trace.
#[derive(Clone, Debug, Default)]
struct SpanRecorder(Arc<Mutex<RecordedSpans>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanRecorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent());
        let parent = parent.map(|parent| parent.id().into_u64());
        let mut recorded = self.0.lock().unwrap();
        recorded.clock += 1;
        let mut span = RecordedSpan {
            name: attributes.metadata().name(),
            fields: BTreeMap::new(),
            parent: parent.and_then(|parent| recorded.by_id.get(&parent).copied()),
            opened: recorded.clock,
            closed: None,
        };
        attributes.record(&mut span);
        let at = recorded.spans.len();
        recorded.by_id.insert(id.into_u64(), at);
        recorded.spans.push(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut recorded = self.0.lock().unwrap();
        let at = recorded.by_id.get(&id.into_u64()).copied();
        if let Some(span) = at.and_then(|at| recorded.spans.get_mut(at)) {
            values.record(span);
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut recorded = self.0.lock().unwrap();
        recorded.clock += 1;
        let clock = recorded.clock;
        let at = recorded.by_id.remove(&id.into_u64());
        if let Some(span) = at.and_then(|at| recorded.spans.get_mut(at)) {
            span.closed = Some(clock);
        }
    }
}

impl SpanRecorder {
    /// Returns the recorder of this process; the first call installs it.
    fn installed() -> &'static Self {
        static RECORDER: OnceLock<SpanRecorder> = OnceLock::new();
        RECORDER.get_or_init(|| {
            let recorder = Self::default();
            let only_trace = Targets::new().with_target(trace::TARGET, Level::DEBUG);
            let layer = recorder.clone().with_filter(only_trace);
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::set_global_default(subscriber).unwrap();
            recorder
        })
    }

    /// Returns the spans about this message, and the enclosing span of each.
    fn about(&self, message: &str) -> Vec<(RecordedSpan, Option<RecordedSpan>)> {
        let recorded = self.0.lock().unwrap();
        let spans = recorded.spans.iter().filter(|span| span.is_about(message));
        let parent = |span: &RecordedSpan| recorded.spans.get(span.parent?).cloned();
        spans.map(|span| (span.clone(), parent(span))).collect()
    }
}

/// Sends a message and waits until it has arrived; returns its id as spans show it.
async fn send(from: &ScenarioUser, to: &ScenarioUser, text: &str) -> String {
    let sent = from.phone.sends(text).to(to).await;
    to.phone.receives(text).from(from).await;
    let id = sent.message_id.as_ref().try_into().unwrap();
    MessageId::from_bytes(id).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spans_of_a_message_follow_its_path() {
    let _one = ONE_TEST_AT_A_TIME.lock().await;
    let recorder = SpanRecorder::installed();
    let fixture = Box::pin(ScenarioFixture::start(
        ScenarioStore::Memory,
        ScenarioWire::Tcp,
        Config::embedded(),
    ))
    .await;
    let (alice, bob) = (fixture.person("Alice").await, fixture.person("Bob").await);
    let message = send(&alice, &bob, "hi").await;
    let spans = recorder.about(&message);
    let only = |name: &str, user: Option<i64>| {
        let found = spans.iter().filter(|(span, parent)| {
            let of_user = |user: i64| {
                let parent = parent.as_ref().map_or("", |parent| parent.field("user"));
                parent == format!("u:{user}")
            };
            span.name == name && user.is_none_or(of_user)
        });
        let found: Vec<_> = found.collect();
        let [one] = found.as_slice() else {
            panic!("one span {name} of user {user:?} expected: {spans:#?}");
        };
        (*one).clone()
    };
    let (request, connection) = only("request", Some(alice.id));
    let connection = connection.unwrap();
    let (store, _) = only("store", None);
    let (deliver, _) = only("deliver", None);
    let (push, receiving) = only("push", Some(bob.id));
    let receiving = receiving.unwrap();
    let path = [
        Some(connection.opened),
        Some(request.opened),
        Some(store.opened),
        store.closed,
        Some(deliver.opened),
        Some(push.opened),
        push.closed,
    ];
    assert!(path.iter().all(Option::is_some), "{path:?}: {spans:#?}");
    assert!(path.is_sorted(), "{path:?}: {spans:#?}");
    // Law 1: stored before answered.
    assert!(store.closed < request.closed, "{spans:#?}");
    assert_eq!(store.field("call"), "inbox.append");
    assert_eq!(push.field("seq"), "1");
    for (span, user) in [(&connection, &alice), (&receiving, &bob)] {
        assert_eq!(span.name, "connection");
        assert_eq!(
            span.field("device"),
            format!("d:{}", user.phone.who.device_id)
        );
        assert!(!span.field("conn").is_empty() && !span.field("peer").is_empty());
    }
    fixture.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_messages_of_sampled_senders_are_traced() {
    let _one = ONE_TEST_AT_A_TIME.lock().await;
    let recorder = SpanRecorder::installed();
    let fixture = Box::pin(ScenarioFixture::start(
        ScenarioStore::Memory,
        ScenarioWire::Tcp,
        Config::embedded(),
    ))
    .await;
    let users = [fixture.person("Alice").await, fixture.person("Bob").await];
    let is_even = |user: &ScenarioUser| user.id % 2 == 0;
    assert_ne!(is_even(&users[0]), is_even(&users[1]));
    for one_in in [0, 1, 2] {
        trace::set_sample(one_in);
        for (from, to) in [(&users[0], &users[1]), (&users[1], &users[0])] {
            let message = send(from, to, &format!("one in {one_in}")).await;
            let names = recorder.about(&message).into_iter();
            let names: Vec<_> = names.map(|(span, _)| span.name).collect();
            let sampled = one_in == 1 || (one_in == 2 && is_even(from));
            let all = ["request", "store", "deliver", "push"];
            assert!(
                all.iter().all(|name| names.contains(name) == sampled),
                "sample {one_in}, user {}: {names:?}",
                from.id
            );
        }
    }
    trace::set_sample(1);
    fixture.stops().await;
}
