//! Redis servers that survive the death of one: a master with a replica under three Sentinels, or a
//! cluster of three masters, one of which has a replica.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a server that does not answer should panic"
)]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gimlet_kit::server::free;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest wait for a group of servers to agree.
const PATIENCE: Duration = Duration::from_secs(30);
/// Name of the master in the Sentinels' configuration.
const SERVICE: &str = "gimlet";

/// A private Redis or Sentinel. Dropping it kills it.
#[derive(Debug)]
struct RedisProcess {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl RedisProcess {
    /// Starts a server with this configuration in addition to its port.
    async fn start(configuration: &str, sentinel: bool) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free().port());
        let file = folder.path().join("redis.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsave \"\"\n{configuration}",
            folder.path().display()
        );
        // A Sentinel rejects settings of a data server.
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

    /// Returns the answer to a command; empty if the server does not answer.
    fn answer(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let mut client = Command::new("redis-cli");
        client.args(["-h", "127.0.0.1", "-p", &port]).args(words);
        let asked = client.stderr(Stdio::null()).output();
        let asked = asked.expect("redis-cli comes with redis-server");
        String::from_utf8_lossy(&asked.stdout).into_owned()
    }

    /// Waits until the answer to a command contains this text.
    async fn says(&self, words: &[&str], answer: &str) {
        let begun = Instant::now();
        loop {
            let said = self.answer(words);
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

impl Drop for RedisProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Servers of which one can be killed and replaced.
#[derive(Debug)]
pub struct RedisGroup {
    /// Address of the servers in gimlet's configuration.
    pub url: String,
    master: Option<RedisProcess>,
    replica: RedisProcess,
    _others: Vec<RedisProcess>,
}

impl RedisGroup {
    /// Starts a master and a replica under three Sentinels, two of which must agree that the master
    /// is gone.
    pub async fn under_sentinels() -> Self {
        let master = RedisProcess::start("", false).await;
        let replica = format!("replicaof 127.0.0.1 {}", master.port);
        let replica = RedisProcess::start(&replica, false).await;
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
            sentinels.push(RedisProcess::start(&watch, true).await);
        }
        for sentinel in &sentinels {
            // The Sentinels find each other and the replica through the master.
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

    /// Starts a cluster of three masters; the first has a replica.
    pub async fn cluster() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..4 {
            let bus = free().port();
            let conf =
                format!("cluster-enabled yes\ncluster-node-timeout 1000\ncluster-port {bus}\n");
            nodes.push((RedisProcess::start(&conf, false).await, bus));
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
        let id = first.answer(&["CLUSTER", "MYID"]);
        let (replica, _) = nodes.pop().unwrap();
        replica.is_done(&["CLUSTER", "REPLICATE", id.trim()]).await;
        replica
            .says(&["INFO", "replication"], "master_link_status:up")
            .await;
        let all: Vec<RedisProcess> = nodes.into_iter().map(|(node, _)| node).collect();
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

    /// Kills the master with `kill -9`; returns when its replica has taken its place.
    pub async fn fails_over(&mut self) -> Instant {
        drop(self.master.take());
        self.replica
            .says(&["INFO", "replication"], "role:master")
            .await;
        Instant::now()
    }
}
