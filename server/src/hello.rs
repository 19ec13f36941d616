//! What the binary says on its terminal: where it listens, how to try it, and what went wrong.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use gimlet_server::Addrs;

/// How the terminal chat is started from a checkout.
const CHAT: &str = "cargo run --release --example chat -p gimlet-client --";

/// One line per listener, and how to try it.
pub(crate) fn greet(addrs: &Addrs) {
    say(&greeting(addrs));
}

fn greeting(addrs: &Addrs) -> String {
    let Addrs {
        tcp,
        ws,
        http,
        grpc,
        internal,
        ops,
    } = addrs;
    let mut text = String::from("gimlet is up\n");
    let mut line = |name: &str, addr: Option<&SocketAddr>, before: &str, after: &str| {
        if let Some(addr) = addr {
            let _ = writeln!(text, "  {name:<10} {before}{addr}{after}");
        }
    };
    line("tcp", tcp.as_ref(), "", "");
    line("websocket", ws.as_ref(), "ws://", "/ws");
    for addr in grpc {
        line("grpc", Some(addr), "http://", "");
    }
    line(
        "internal",
        internal.as_ref(),
        "http://",
        "  (for backends only)",
    );
    line("files", http.as_ref(), "http://", "/upload");
    line("ops", ops.as_ref(), "http://", "/readyz /healthz /metrics");
    if let (Some(tcp), Some(grpc)) = (tcp, grpc.first()) {
        text.push_str("try it, in two terminals:\n");
        for phone in ["13800000001", "13800000002"] {
            let at = at(*tcp, *grpc);
            let _ = writeln!(text, "  {CHAT} --phone {phone}{at}");
        }
    }
    text.push_str("Ctrl-C stops it");
    text
}

/// The chat's arguments, where its defaults do not fit.
fn at(tcp: SocketAddr, grpc: SocketAddr) -> String {
    let mut text = String::new();
    if !tcp.ip().is_loopback() && !tcp.ip().is_unspecified() || tcp.port() != 8080 {
        let _ = write!(text, " --server {}", reachable(tcp));
    }
    if !grpc.ip().is_loopback() && !grpc.ip().is_unspecified() || grpc.port() != 50100 {
        let _ = write!(text, " --grpc http://{}", reachable(grpc));
    }
    text
}

/// An address to connect to: one that means "every address" is reached through loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()))
    } else {
        addr
    }
}

/// Writes to standard output; nobody may be listening, and that is no fault.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "gimlet: {}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_a_line_and_the_chat_its_addresses() {
        let at = |text: &str| text.parse().ok();
        let addrs = Addrs {
            tcp: at("127.0.0.1:8080"),
            ws: at("127.0.0.1:8081"),
            http: None,
            grpc: at("0.0.0.0:6000").into_iter().collect(),
            internal: None,
            ops: at("127.0.0.1:8086"),
        };
        let text = greeting(&addrs);
        assert!(text.contains("ws://127.0.0.1:8081/ws"), "{text}");
        assert!(
            text.contains("13800000001 --grpc http://127.0.0.1:6000\n"),
            "{text}"
        );
        assert!(
            !text.contains("--server") && !text.contains("internal"),
            "{text}"
        );
    }
}
