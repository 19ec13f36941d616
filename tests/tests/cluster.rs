//! A cluster of real processes over MySQL and Redis: two connect nodes, two logic nodes, one
//! business node. These tests check features across nodes; `faults` measures the loss of nodes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation should panic"
)]

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use gimlet_client::{ClientEvent, MessageContent, MessageSender, MessageTarget};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::server::get;
use gimlet_tests::certificates::TestCertificates;
use gimlet_tests::cluster::{ClusterDevice, NodeCluster, NodeRole};
use gimlet_tests::http_stories::{
    a_key_created_beside_running_nodes_is_valid_on_all_of_them,
    a_long_poll_gets_an_entry_that_another_node_stored, a_revoked_jwt_is_refused_on_every_node,
    a_stream_goes_on_at_another_node_without_loss_or_repeat,
    the_http_api_is_the_same_on_every_node,
};
use gimlet_tests::jwt::JWT_SETTINGS;
use gimlet_tests::scenario::soon;
use gimlet_tests::writers;
use libtest_mimic::{Arguments, Trial};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

/// Longest duration of one test.
const STORY: Duration = Duration::from_mins(2);

type ClusterTestFuture = Pin<Box<dyn Future<Output = ()>>>;
type ClusterTest = (&'static str, fn(NodeCluster) -> ClusterTestFuture);

macro_rules! stories {
    ($($name:ident),+ $(,)?) => {
        &[$((stringify!($name), |cluster| Box::pin($name(cluster)))),+]
    };
}

/// Number of nodes of each role: connect, logic, business.
type NodeCounts = [usize; 3];

/// Two connect nodes, two logic nodes and a business node.
const APART: NodeCounts = [2, 2, 1];
/// Two nodes with all roles.
const WHOLE: NodeCounts = [2, 0, 0];

const ON_WHOLE: &[ClusterTest] = stories![
    a_message_is_pushed_from_one_node_to_the_other,
    a_group_gets_its_messages_on_both_nodes,
    a_room_is_received_on_both_nodes_in_its_order,
    a_device_that_signs_in_on_the_other_node_is_superseded,
    signing_out_at_the_business_node_closes_the_connection,
    the_http_api_is_the_same_on_every_node,
    a_revoked_jwt_is_refused_on_every_node,
    a_stream_goes_on_at_another_node_without_loss_or_repeat,
    a_key_created_beside_running_nodes_is_valid_on_all_of_them,
];

const ON_APART: &[ClusterTest] = stories![
    a_message_is_pushed_from_one_node_to_the_other,
    a_group_gets_its_messages_on_both_nodes,
    a_room_is_received_on_both_nodes_in_its_order,
    an_absent_device_gets_everything_from_the_other_node,
    a_device_that_signs_in_on_the_other_node_is_superseded,
    signing_out_at_the_business_node_closes_the_connection,
    eight_writers_to_one_user_leave_no_hole_to_its_reader,
    a_connect_node_without_a_logic_node_is_not_ready,
    signing_out_closes_a_connection_whose_route_is_lost,
    signing_out_closes_a_connection_on_a_frozen_node,
    a_takeover_that_a_frozen_node_did_not_hear_of_stands,
    a_sign_in_waits_for_a_node_that_is_frozen_briefly,
    the_http_api_is_the_same_on_every_node,
    a_revoked_jwt_is_refused_on_every_node,
    a_long_poll_gets_an_entry_that_another_node_stored,
    a_stream_goes_on_at_another_node_without_loss_or_repeat,
    a_key_created_beside_running_nodes_is_valid_on_all_of_them,
];

/// Tests of nodes that call each other with TLS and show each other their certificates.
const ON_ENCRYPTED: &[ClusterTest] = stories![
    a_message_is_pushed_from_one_node_to_the_other,
    a_group_gets_its_messages_on_both_nodes,
    a_room_is_received_on_both_nodes_in_its_order,
    an_absent_device_gets_everything_from_the_other_node,
    a_device_that_signs_in_on_the_other_node_is_superseded,
    signing_out_at_the_business_node_closes_the_connection,
    the_http_api_is_the_same_on_every_node,
    the_calls_between_nodes_are_encrypted,
];

/// Kind of the tests in [`ON_ENCRYPTED`].
const ENCRYPTED: &str = "encrypted";

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let servers = BackendAddresses::of_environment();
    let apart = ON_APART.iter().map(|story| ("apart", APART, story));
    let whole = ON_WHOLE.iter().map(|story| ("whole", WHOLE, story));
    let encrypted = ON_ENCRYPTED.iter().map(|story| (ENCRYPTED, APART, story));
    let all = apart.chain(whole).chain(encrypted);
    let trials = all.map(|(kind, shape, (name, tell))| {
        let (servers, tell) = (servers.clone(), *tell);
        let missing = servers.is_none();
        let trial = Trial::test(format!("cluster::{kind}::{name}"), move || {
            let servers = servers.ok_or("there are no servers")?;
            run(&servers, shape, kind == ENCRYPTED, tell);
            Ok(())
        });
        trial.with_ignored_flag(missing)
    });
    let done = libtest_mimic::run(&args, trials.collect());
    if servers.is_none() {
        println!(
            "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by tests/backends/with"
        );
        if BackendAddresses::are_required() {
            return ExitCode::FAILURE;
        }
    }
    done.exit_code()
}

fn run(
    servers: &BackendAddresses,
    shape: NodeCounts,
    is_encrypted: bool,
    tell: fn(NodeCluster) -> ClusterTestFuture,
) {
    let files = is_encrypted.then(|| TestCertificates::new().unwrap());
    let file = |name: &str| files.as_ref().map(|files| files.path(name));
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let tls = [
        ("GIMLET_CLUSTER__TLS_CA", ca.as_deref()),
        ("GIMLET_CLUSTER__TLS_CERT", cert.as_deref()),
        ("GIMLET_CLUSTER__TLS_KEY", key.as_deref()),
        ("GIMLET_CLUSTER__TLS_MUTUAL", files.as_ref().map(|_| "true")),
    ];
    let tls = tls.into_iter();
    let mut more: Vec<_> = tls
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    more.extend(JWT_SETTINGS);
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = NodeCluster::with(servers, shape, &more).await.unwrap();
        let told = timeout(STORY, tell(cluster)).await;
        assert!(told.is_ok(), "the test did not end within {STORY:?}");
    });
}

async fn pair(cluster: &NodeCluster) -> (ClusterDevice, ClusterDevice) {
    let (alice, bob) = (cluster.sign_up().await, cluster.sign_up().await);
    (cluster.phone(&alice, 0).await, cluster.phone(&bob, 1).await)
}

fn to(phone: &ClusterDevice) -> MessageTarget {
    MessageTarget::User(phone.who.user_id)
}

/// A node without TLS would send the cluster's secret in clear, and does not get through.
async fn the_calls_between_nodes_are_encrypted(cluster: NodeCluster) {
    let nodes = [&cluster.connect[0], &cluster.logic[1], &cluster.business[0]];
    for node in nodes {
        let mut plain = TcpStream::connect(node.ports().internal).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        plain.write_all(preface).await.unwrap();
        plain.shutdown().await.unwrap();
        let mut answer = Vec::new();
        plain.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("speaks TLS"), "{answer}");
    }
}

async fn a_message_is_pushed_from_one_node_to_the_other(cluster: NodeCluster) {
    let (alice, mut bob) = pair(&cluster).await;
    let named = gimlet_client::pb::UpdateUserReq {
        nickname: Some("Alice".into()),
        ..Default::default()
    };
    let api = cluster.api(0).signed_in(alice.who.clone());
    api.update_user(named).await.unwrap();
    for n in 1..=50 {
        let sent = alice.sends(&format!("{n}"), to(&bob)).await;
        assert_eq!((sent.seq, sent.repeated), (n, false));
        let got = bob.receives(&format!("{n}"), n).await;
        let MessageSender::User {
            id,
            device_id,
            nickname,
            ..
        } = got.sender
        else {
            panic!("a user sent it: {:?}", got.sender);
        };
        assert_eq!((id, device_id), (alice.who.user_id, alice.who.device_id));
        assert_eq!(nickname, "Alice");
    }
    // Refusals keep their codes across nodes.
    let nobody = MessageTarget::User(i64::MAX);
    let refused = alice.tries("x", nobody).await.unwrap_err();
    assert!(
        matches!(
            refused,
            gimlet_client::ClientError::Refused { code: 10_016, .. }
        ),
        "{refused:?}"
    );
    // The other direction: from the second connect node to the first.
    let mut alices = alice;
    bob.sends("back", to(&alices)).await;
    alices.receives("back", 51).await;
}

async fn a_group_gets_its_messages_on_both_nodes(cluster: NodeCluster) {
    let (mut alice, mut bob) = pair(&cluster).await;
    let mut carol = cluster.phone(&cluster.sign_up().await, 1).await;
    let api = cluster.api(1).signed_in(alice.who.clone());
    let members = [bob.who.user_id, carol.who.user_id];
    let group = MessageTarget::Group(api.create_group("team", &members).await.unwrap());
    for n in 0..20 {
        let text = format!("{n}");
        let sender = if n % 2 == 0 { &alice } else { &bob };
        sender.sends(&text, group).await;
        for (at, phone) in [&mut alice, &mut bob, &mut carol].into_iter().enumerate() {
            if at == usize::from(n % 2 == 1) {
                continue;
            }
            let message = |event| match event {
                ClientEvent::Message(inbound) => Some(inbound),
                _ => None,
            };
            let got = phone.next(&text, message).await;
            assert_eq!(
                (got.content, got.receiver),
                (MessageContent::text(&text), group)
            );
        }
    }
}

async fn a_room_is_received_on_both_nodes_in_its_order(cluster: NodeCluster) {
    let (mut alice, mut bob) = pair(&cluster).await;
    let room = i64::from(rand::random::<u32>()) + 1;
    for phone in [&alice, &bob] {
        phone.client.subscribe(room, 0).await.unwrap();
    }
    let apis = [0, 1].map(|at| cluster.api(at).signed_in(alice.who.clone()));
    for n in 1..=40_usize {
        let text = MessageContent::text(format!("{n}"));
        apis[n % 2].push_room(room, &text, true).await.unwrap();
    }
    for phone in [&mut alice, &mut bob] {
        for n in 1..=40 {
            assert_eq!(phone.expect_room_message(&format!("{n}")).await.seq, n);
        }
    }
    // A later subscriber receives the history first, then live messages.
    let mut carol = cluster.phone(&cluster.sign_up().await, 1).await;
    carol.client.subscribe(room, 31).await.unwrap();
    apis[0]
        .push_room(room, &MessageContent::text("41"), true)
        .await
        .unwrap();
    for n in 31..=41 {
        assert_eq!(carol.expect_room_message(&format!("{n}")).await.seq, n);
    }
}

async fn an_absent_device_gets_everything_from_the_other_node(cluster: NodeCluster) {
    let alice = cluster.phone(&cluster.sign_up().await, 0).await;
    let bob = cluster.sign_up().await;
    for n in 1..=120 {
        alice
            .sends(&format!("{n}"), MessageTarget::User(bob.user_id))
            .await;
    }
    let mut bob = ClusterDevice::new(&bob, cluster.endpoint(1)).await;
    for n in 1..=120 {
        bob.receives(&format!("{n}"), n).await;
    }
    alice.sends("live", to(&bob)).await;
    bob.receives("live", 121).await;
}

async fn a_device_that_signs_in_on_the_other_node_is_superseded(cluster: NodeCluster) {
    let (alice, mut older) = pair(&cluster).await;
    let mut newer = cluster.phone(&older.who, 0).await;
    alice.sends("to the newer", to(&newer)).await;
    newer.receives("to the newer", 1).await;
    let end = older.expect_session_end().await;
    assert!(matches!(end, ClientEvent::Superseded), "{end:?}");
}

async fn signing_out_at_the_business_node_closes_the_connection(cluster: NodeCluster) {
    let (alice, mut bob) = pair(&cluster).await;
    let api = cluster.api(0).signed_in(bob.who.clone());
    api.sign_out().await.unwrap();
    let end = bob.expect_session_end().await;
    assert!(matches!(end, ClientEvent::SignedOut { .. }), "{end:?}");
    alice.sends("to nobody", to(&bob)).await;
}

async fn signing_out_closes_a_connection_whose_route_is_lost(cluster: NodeCluster) {
    let (alice, mut bob) = pair(&cluster).await;
    alice.sends("1", to(&bob)).await;
    bob.receives("1", 1).await;
    cluster.loses_the_route(&bob.who).unwrap();
    let api = cluster.api(0).signed_in(bob.who.clone());
    api.sign_out().await.unwrap();
    alice.sends("2", to(&bob)).await;
    let end = bob.expect_session_end().await;
    assert!(matches!(end, ClientEvent::SignedOut { .. }), "{end:?}");
}

/// A frozen node receives neither the revocation nor the later sends; both wait in its sockets when
/// it thaws.
async fn signing_out_closes_a_connection_on_a_frozen_node(mut cluster: NodeCluster) {
    let (alice, mut bob) = pair(&cluster).await;
    alice.sends("1", to(&bob)).await;
    bob.receives("1", 1).await;
    cluster.connect[1].freeze().unwrap();
    let api = cluster.api(0).signed_in(bob.who.clone());
    api.sign_out().await.unwrap();
    for n in 2..=20 {
        alice.sends(&format!("{n}"), to(&bob)).await;
    }
    cluster.connect[1].thaw().unwrap();
    let end = bob.expect_session_end().await;
    let over = matches!(end, ClientEvent::SignedOut { .. } | ClientEvent::Superseded);
    assert!(over, "{end:?}");
}

/// The freeze is too short for the node's own pause detector: only the repeated takeover ends the
/// older connection.
async fn a_takeover_that_a_frozen_node_did_not_hear_of_stands(mut cluster: NodeCluster) {
    let (alice, mut older) = pair(&cluster).await;
    cluster.connect[1].freeze().unwrap();
    let newer = ClusterDevice::new(&older.who, cluster.endpoint(0));
    let (mut newer, ()) = tokio::join!(newer, async {
        sleep(Duration::from_millis(1_200)).await;
        cluster.connect[1].thaw().unwrap();
    });
    let end = older.expect_session_end().await;
    assert!(matches!(end, ClientEvent::Superseded), "{end:?}");
    alice.sends("to the newer", to(&newer)).await;
    newer.receives("to the newer", 1).await;
}

/// A freeze of less than two seconds is not noticed by the node itself. Until it has acknowledged
/// the takeover, it could show the older connection what it received before the freeze.
async fn a_sign_in_waits_for_a_node_that_is_frozen_briefly(mut cluster: NodeCluster) {
    const FREEZE: Duration = Duration::from_millis(1_600);
    let (_alice, mut older) = pair(&cluster).await;
    cluster.connect[1].freeze().unwrap();
    let endpoint = cluster.endpoint(0);
    let begun = Instant::now();
    let signing_in = async {
        let mut newer = ClusterDevice::new(&older.who, endpoint).await;
        newer.is_up_to_date().await;
        (newer, begun.elapsed())
    };
    let ((_newer, took), ()) = tokio::join!(signing_in, async {
        sleep(FREEZE).await;
        cluster.connect[1].thaw().unwrap();
    });
    assert!(took >= FREEZE, "answered during the freeze, after {took:?}");
    let end = older.expect_session_end().await;
    assert!(matches!(end, ClientEvent::Superseded), "{end:?}");
}

async fn a_connect_node_without_a_logic_node_is_not_ready(mut cluster: NodeCluster) {
    async fn says(ops: std::net::SocketAddr, word: &str) {
        let end = format!("\r\n\r\n{word}");
        soon(word, async {
            while !get(ops, "/readyz")
                .await
                .is_ok_and(|answer| answer.contains(&end))
            {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let ops = cluster.connect[0].ports().ops;
    says(ops, "ready").await;
    cluster.logic[0].kill().unwrap();
    cluster.logic[1].kill().unwrap();
    says(ops, "waiting: no logic node is reached").await;
    cluster.restart(NodeRole::Logic, 0).await.unwrap();
    says(ops, "ready").await;
    let (alice, mut bob) = pair(&cluster).await;
    alice.sends("hi", to(&bob)).await;
    bob.receives("hi", 1).await;
}

/// `gimlet-writers` measures the rate.
async fn eight_writers_to_one_user_leave_no_hole_to_its_reader(cluster: NodeCluster) {
    let span = Duration::from_secs(2);
    let outcome = writers::run(&cluster, 8, span).await.unwrap();
    let verdict = &outcome.verdict;
    assert!(verdict.is_clean() && verdict.answered > 8, "{outcome:?}");
    assert!(verdict.entries >= verdict.answered, "{outcome:?}");
}
