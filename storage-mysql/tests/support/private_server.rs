//! A private MariaDB, for cases that change a whole server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use sqlx::{Connection as _, MySqlConnection};

use crate::support::{AdminConnection, ServerUrls};

/// A running MariaDB; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct PrivateServer {
    child: Child,
    input: Option<ChildStdin>,
    /// Its address, with an account that has all privileges.
    pub(crate) url: String,
}

impl PrivateServer {
    /// Starts a server with these options in addition to the usual ones.
    pub(crate) fn start(options: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut child = Command::new(root.join("tests/backends/with"))
            .env_remove("GIMLET_TEST_MYSQL")
            .env_remove("GIMLET_TEST_PORTS")
            // With an address given, the script starts no Redis.
            .env("GIMLET_TEST_REDIS", "none")
            .env("GIMLET_TEST_MYSQL_ARGS", options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut url = None;
        for line in lines.map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("export GIMLET_TEST_MYSQL=") {
                url = Some(address.to_owned());
            }
            // The last line that the script writes: afterwards the pipe stays empty.
            if line.starts_with("export GIMLET_TEST_REDIS=") {
                break;
            }
        }
        Self {
            child,
            input,
            url: url.expect("tests/backends/with prints the address of its MariaDB"),
        }
    }

    /// Returns the addresses of both servers, with this one as MySQL.
    pub(crate) fn servers(&self, servers: &ServerUrls) -> ServerUrls {
        ServerUrls {
            mysql: self.url.clone(),
            redis: servers.redis.clone(),
        }
    }

    /// Connects with all privileges.
    pub(crate) async fn admin(&self) -> AdminConnection {
        AdminConnection(MySqlConnection::connect(&self.url).await.unwrap())
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Creates a private CA, and a certificate by it for 127.0.0.1.
pub(crate) fn certificates(folder: &Path, name: &str) {
    let script = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca-{name} \
           -keyout {name}-ca.key -out {name}-ca.pem -addext basicConstraints=critical,CA:TRUE && \
         openssl req -newkey rsa:2048 -nodes -subj /CN=db -keyout {name}.key -out {name}.csr && \
         printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > {name}.ext && \
         openssl x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial \
           -days 2 -extfile {name}.ext -out {name}.pem"
    );
    let done = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
