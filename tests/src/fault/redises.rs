//! Several Redis servers that survive the death of one: a master with a replica under three
//! Sentinels, or a cluster of three masters, one of which has a replica.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a server that does not answer should panic"
)]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::process::free;

/// How long a group of servers may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the Sentinels call the master.
const SERVICE: &str = "gimlet";

/// A Redis or a Sentinel of ours. Dropping it kills it.
#[derive(Debug)]
struct Server {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts one with this configuration behind its port.
    async fn start(configuration: &str, sentinel: bool) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free().port());
        let file = folder.path().join("redis.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsave \"\"\n{configuration}",
            folder.path().display()
        );
        // A Sentinel takes no setting of a server's data.
        let text = if sentinel {
            text.replace("save \"\"\n", "")
        } else {
            text
        };
        fs::write(&file, text).unwrap();
        let mut command = Command::new("redis-server");
        command
            .arg(&file)
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        if sentinel {
            command.arg("--sentinel");
        }
        let server = Self {
            port,
            child: command
                .spawn()
                .expect("redis-server is installed by tests/backends/with"),
            _folder: folder,
        };
        server.says(&["PING"], "PONG").await;
        server
    }

    /// What it answers, or nothing if it does not.
    fn asked(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let mut client = Command::new("redis-cli");
        client.args(["-h", "127.0.0.1", "-p", &port]).args(words);
        let asked = client.stderr(Stdio::null()).output();
        let asked = asked.expect("redis-cli comes with redis-server");
        String::from_utf8_lossy(&asked.stdout).into_owned()
    }

    /// Waits until it answers so.
    async fn says(&self, words: &[&str], answer: &str) {
        let begun = Instant::now();
        loop {
            let said = self.asked(words);
            if said.contains(answer) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{words:?}: {said:?}, not {answer:?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_done(&self, words: &[&str]) {
        self.says(words, "OK").await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Servers one of which can be killed and replaced.
#[derive(Debug)]
pub struct Redises {
    /// How gimlet reaches them.
    pub url: String,
    master: Option<Server>,
    replica: Server,
    _others: Vec<Server>,
}

impl Redises {
    /// A master and a replica under three Sentinels, two of which must agree that it is gone.
    pub async fn under_sentinels() -> Self {
        let master = Server::start("", false).await;
        let replica = format!("replicaof 127.0.0.1 {}", master.port);
        let replica = Server::start(&replica, false).await;
        replica
            .says(&["INFO", "replication"], "master_link_status:up")
            .await;
        let watch = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            master.port
        );
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Server::start(&watch, true).await);
        }
        for sentinel in &sentinels {
            // They find each other and the replica by the master.
            let info = ["INFO", "sentinel"];
            sentinel.says(&info, "slaves=1,sentinels=3").await;
        }
        let hosts: Vec<_> = sentinels
            .iter()
            .map(|it| format!("127.0.0.1:{}", it.port))
            .collect();
        Self {
            url: format!("redis+sentinel://{}/{SERVICE}/0", hosts.join(",")),
            master: Some(master),
            replica,
            _others: sentinels,
        }
    }

    /// A cluster of three masters; the first has a replica.
    pub async fn cluster() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..4 {
            let bus = free().port();
            let conf =
                format!("cluster-enabled yes\ncluster-node-timeout 1000\ncluster-port {bus}\n");
            nodes.push((Server::start(&conf, false).await, bus));
        }
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for ((node, _), (from, to)) in nodes.iter().zip(slots) {
            node.is_done(&["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
        }
        let (first, _) = &nodes[0];
        for (node, bus) in &nodes[1..] {
            let (port, bus) = (node.port.to_string(), bus.to_string());
            first
                .is_done(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
                .await;
        }
        for (node, _) in &nodes {
            let info = ["CLUSTER", "INFO"];
            node.says(&info, "cluster_known_nodes:4").await;
            node.says(&info, "cluster_state:ok").await;
        }
        let id = first.asked(&["CLUSTER", "MYID"]);
        let (replica, _) = nodes.pop().unwrap();
        replica.is_done(&["CLUSTER", "REPLICATE", id.trim()]).await;
        replica
            .says(&["INFO", "replication"], "master_link_status:up")
            .await;
        let all: Vec<Server> = nodes.into_iter().map(|(node, _)| node).collect();
        // Every node must know the replica before its master may die.
        for node in &all {
            node.says(&["CLUSTER", "NODES"], "slave").await;
        }
        let urls: Vec<_> = all
            .iter()
            .map(|it| format!("redis://127.0.0.1:{}", it.port))
            .collect();
        let mut all = all.into_iter();
        Self {
            url: urls.join(","),
            master: all.next(),
            replica,
            _others: all.collect(),
        }
    }

    /// Kills the master by `kill -9`; returns when its replica has taken its place.
    pub async fn fails_over(&mut self) -> Instant {
        drop(self.master.take());
        self.replica
            .says(&["INFO", "replication"], "role:master")
            .await;
        Instant::now()
    }
}
