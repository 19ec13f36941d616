//! Terminal output of the binary: what it is, where it listens, how to try it, and errors. For
//! people; with `log.format = "json"` the log says the same to programs instead.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use gimlet_server::config::{CodeVerifier, ListenerName, NodeRole, StorageKind};
use gimlet_server::{Config, ListenAddrs};

/// Facts about the configuration that the banner shows.
#[derive(Clone, Debug)]
pub(crate) struct StartBanner {
    /// The program as it can be called again.
    program: String,
    /// The roles, separated by commas.
    pub(crate) roles: String,
    /// Location of messages.
    pub(crate) data: String,
    /// Sign-in method.
    sign_in: SignIn,
    /// Listeners that speak TLS.
    encrypted: Vec<ListenerName>,
    /// `true` if the internal listener speaks TLS.
    internal_tls: bool,
    /// `true` if the HTTP listener serves the web chat.
    web_chat: bool,
}

/// Sign-in method, as far as someone who wants to try the chat needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignIn {
    /// With the development code.
    Development,
    /// With a code that something else checks.
    Code,
    /// At a business server in another process.
    Elsewhere,
}

impl StartBanner {
    /// Makes the banner of a server with this configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let roles = NodeRole::ALL.into_iter();
        let roles = roles.filter(|role| config.roles.has(*role));
        let roles: Vec<_> = roles.map(NodeRole::name).collect();
        Self {
            program: program(std::env::args().next()),
            roles: roles.join(", "),
            data: match config.storage.kind {
                StorageKind::Memory => "in memory, gone when it ends".to_owned(),
                StorageKind::Sled => format!("in {}", config.data_dir.display()),
                StorageKind::Mysql => "in MySQL and Redis".to_owned(),
            },
            sign_in: match &config.business.code_verifier {
                _ if !config.roles.has(NodeRole::Business) => SignIn::Elsewhere,
                CodeVerifier::Development => SignIn::Development,
                CodeVerifier::Unset | CodeVerifier::Fixed(_) | CodeVerifier::Http(_) => {
                    SignIn::Code
                }
            },
            encrypted: config.encrypted(),
            internal_tls: config.has_node_tls(),
            web_chat: config.serves_chat(),
        }
    }

    /// Returns the banner: a line about the server, one line per listener, and how to try it.
    pub(crate) fn text(&self, addrs: &ListenAddrs) -> String {
        let mut text = format!(
            "gimlet {}, an instant-messaging server; roles: {}; data {}\n",
            env!("CARGO_PKG_VERSION"),
            self.roles,
            self.data
        );
        let mut line = |name: &str, addr: Option<&SocketAddr>, before: &str, after: &str| {
            if let Some(addr) = addr {
                let _ = writeln!(text, "  {name:<10} {before}{addr}{after}");
            }
        };
        let scheme = |listener, plain, encrypted| {
            if self.encrypted.contains(&listener) {
                encrypted
            } else {
                plain
            }
        };
        line(
            "tcp",
            addrs.tcp.as_ref(),
            scheme(ListenerName::Tcp, "", "tls://"),
            "",
        );
        line(
            "websocket",
            addrs.ws.as_ref(),
            scheme(ListenerName::Ws, "ws://", "wss://"),
            "/ws",
        );
        for addr in &addrs.grpc {
            line(
                "grpc",
                Some(addr),
                scheme(ListenerName::Grpc, "http://", "https://"),
                "",
            );
        }
        let internal = addrs.internal.as_ref();
        let before = if self.internal_tls {
            "https://"
        } else {
            "http://"
        };
        line("internal", internal, before, "  (for backends only)");
        let before = scheme(ListenerName::Http, "http://", "https://");
        line("http", addrs.http.as_ref(), before, "/v1");
        line("files", addrs.http.as_ref(), before, "/upload");
        let ops = addrs.ops.as_ref();
        let before = scheme(ListenerName::Ops, "http://", "https://");
        line(
            "ops",
            ops,
            before,
            "/  (console; /readyz /healthz /metrics)",
        );
        text.push_str(&self.chat(addrs));
        text.push_str("Ctrl-C stops it");
        text
    }

    /// Returns the chat's arguments that differ from its defaults.
    fn arguments(&self, socket: SocketAddr, is_ws: bool, grpc: SocketAddr) -> String {
        let listener = if is_ws {
            ListenerName::Ws
        } else {
            ListenerName::Tcp
        };
        let has = |listener| self.encrypted.contains(&listener);
        let (sockets, calls) = (has(listener), has(ListenerName::Grpc));
        if !sockets && !calls {
            return plain_arguments(socket, is_ws, grpc);
        }
        // A certificate is for a name.
        let host = |addr: SocketAddr| match reachable(addr) {
            addr if addr.ip().is_loopback() => format!("localhost:{}", addr.port()),
            addr => addr.to_string(),
        };
        let (socket, grpc) = (host(socket), host(grpc));
        let server = match (is_ws, sockets) {
            (true, true) => format!("wss://{socket}/ws"),
            (true, false) => format!("ws://{socket}/ws"),
            (false, true) => format!("tls://{socket}"),
            (false, false) => socket,
        };
        let scheme = if calls { "https" } else { "http" };
        format!(" --server {server} --grpc {scheme}://{grpc}")
    }

    /// Returns the commands of two chats, if this process alone can serve them.
    fn chat(&self, addrs: &ListenAddrs) -> String {
        let (Some(socket), Some(grpc)) = (addrs.tcp.or(addrs.ws), addrs.grpc.first()) else {
            return String::new();
        };
        if self.sign_in == SignIn::Elsewhere {
            return "users sign in at your business server: docs/business.md\n".to_owned();
        }
        let mut text = String::new();
        if let Some(http) = addrs.http.filter(|_| self.web_chat) {
            let encrypted = self.encrypted.contains(&ListenerName::Http);
            let scheme = if encrypted { "https" } else { "http" };
            let _ = writeln!(
                text,
                "try it in a browser:\n  {scheme}://{}/",
                reachable(http)
            );
        }
        if cfg!(not(feature = "chat")) {
            return text;
        }
        let mut at = self.arguments(socket, addrs.tcp.is_none(), *grpc);
        if self.sign_in == SignIn::Code {
            at.push_str(" --code CODE");
        }
        text.push_str("try it, in two terminals:\n");
        for (phone, name) in [("13800000001", "alice"), ("13800000002", "bob")] {
            let program = &self.program;
            let _ = writeln!(text, "  {program} chat --phone {phone} --name {name}{at}");
        }
        text
    }
}

/// Returns the program as the user can call it again: by name if the shell found it by name, else
/// by the path that was typed.
fn program(argument: Option<String>) -> String {
    let path = argument.unwrap_or_else(|| "gimlet".to_owned());
    if path.contains(|c: char| c.is_whitespace() || "'\"$\\".contains(c)) {
        format!("'{}'", path.replace('\'', "'\\''"))
    } else {
        path
    }
}

/// Returns the chat's arguments that differ from its defaults, without TLS.
fn plain_arguments(socket: SocketAddr, is_ws: bool, grpc: SocketAddr) -> String {
    let mut text = String::new();
    let default = |addr: SocketAddr, port| {
        (addr.ip() == Ipv4Addr::LOCALHOST || addr.ip() == Ipv4Addr::UNSPECIFIED)
            && addr.port() == port
    };
    if is_ws {
        text.push_str(" --ws");
    }
    if !default(socket, if is_ws { 8081 } else { 8080 }) {
        let _ = write!(text, " --server {}", reachable(socket));
    }
    if !default(grpc, 50_100) {
        let _ = write!(text, " --grpc http://{}", reachable(grpc));
    }
    text
}

/// Returns an address to connect to: "every address" is reached through loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, addr.port()).into()
        }
        _ => addr,
    }
}

/// Writes to standard output. A closed output is not an error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// Writes an error to standard error, as a log line if the log is JSON.
pub(crate) fn complain(text: &str) {
    if crate::logging::is_json() {
        tracing::error!("{}", text.trim_end());
    } else {
        let _ = writeln!(std::io::stderr().lock(), "gimlet: {}", text.trim_end());
    }
}

/// Writes an error, and returns the exit code of the process.
pub(crate) fn fail(code: u8, text: &str) -> ExitCode {
    complain(text);
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use gimlet_server::config::{NodeRoles, SecretString};

    use super::*;

    fn addrs() -> ListenAddrs {
        let at = |text: &str| text.parse().ok();
        ListenAddrs {
            tcp: at("127.0.0.1:8080"),
            ws: at("127.0.0.1:8081"),
            http: None,
            grpc: at("0.0.0.0:6000").into_iter().collect(),
            internal: None,
            ops: at("127.0.0.1:8086"),
        }
    }

    fn text(change: impl FnOnce(&mut Config, &mut ListenAddrs)) -> String {
        let (mut config, mut addrs) = (Config::default(), addrs());
        config.business.code_verifier = CodeVerifier::Development;
        change(&mut config, &mut addrs);
        let mut banner = StartBanner::of(&config);
        "gimlet".clone_into(&mut banner.program);
        banner.text(&addrs)
    }

    #[test]
    fn it_says_what_it_is_and_every_listener_has_a_line() {
        let text = text(|_, _| {});
        for part in [
            "an instant-messaging server",
            "roles: connect, logic, business",
            "data in ./data",
            "ws://127.0.0.1:8081/ws",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(!text.contains("internal"), "{text}");
    }

    #[cfg(feature = "chat")]
    #[test]
    fn the_command_that_chats_can_be_copied() {
        let shown = text(|_, _| {});
        let command =
            "  gimlet chat --phone 13800000001 --name alice --grpc http://127.0.0.1:6000\n";
        assert!(shown.contains(command), "{shown}");
        let shown = text(|config, addrs| {
            config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
            addrs.tcp = None;
        });
        assert!(
            shown.contains("--name bob --ws --grpc http://127.0.0.1:6000 --code CODE"),
            "{shown}"
        );
    }

    #[test]
    fn the_page_that_chats_can_be_opened() {
        let shown = text(|_, addrs| addrs.http = "0.0.0.0:8085".parse().ok());
        let page = "try it in a browser:\n  http://127.0.0.1:8085/\n";
        assert!(shown.contains(page), "{shown}");
        let shown = text(|config, addrs| {
            config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
            addrs.http = "127.0.0.1:8085".parse().ok();
        });
        assert!(!shown.contains("browser"), "{shown}");
    }

    #[test]
    fn without_the_business_role_it_says_where_users_sign_in() {
        let shown =
            text(|config, _| config.roles = NodeRoles(vec![NodeRole::Connect, NodeRole::Logic]));
        assert!(
            shown.contains("docs/business.md") && !shown.contains("gimlet chat"),
            "{shown}"
        );
        let shown = text(|config, addrs| {
            config.roles = NodeRoles(vec![NodeRole::Connect]);
            addrs.grpc.clear();
        });
        assert!(
            !shown.contains("chat") && !shown.contains("sign in"),
            "{shown}"
        );
    }

    #[cfg(feature = "chat")]
    #[test]
    fn with_a_certificate_the_addresses_say_so() {
        let shown = text(|config, _| config.tls.cert = Some("cert.pem".into()));
        for part in [
            "tls://127.0.0.1:8080\n",
            "wss://127.0.0.1:8081/ws\n",
            "https://0.0.0.0:6000\n",
            "http://127.0.0.1:8086",
            "--server tls://localhost:8080 --grpc https://localhost:6000",
        ] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
    }

    #[test]
    fn a_program_is_named_as_it_was_called() {
        let program = |path: &str| program(Some(path.to_owned()));
        assert_eq!(program("gimlet"), "gimlet");
        assert_eq!(program("target/release/gimlet"), "target/release/gimlet");
        assert_eq!(program("/my programs/gimlet"), "'/my programs/gimlet'");
    }
}
