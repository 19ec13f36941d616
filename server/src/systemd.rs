//! Reports the server's state to systemd by the protocol of `sd_notify(3)`: one datagram to the
//! socket that `NOTIFY_SOCKET` names. Without the variable it does nothing.

#[cfg(unix)]
use std::os::unix::net::UnixDatagram;

use gimlet_server::ServerPhase;

/// The socket of the service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct SystemdNotifier {
    #[cfg(unix)]
    socket: Option<UnixDatagram>,
}

impl SystemdNotifier {
    /// Connects to the socket that the environment names.
    pub(crate) fn from_env() -> Self {
        Self::connect(std::env::var_os("NOTIFY_SOCKET"))
    }

    #[cfg(unix)]
    fn connect(address: Option<std::ffi::OsString>) -> Self {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        match connected(&address) {
            Ok(socket) => Self {
                socket: Some(socket),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot reach the socket that NOTIFY_SOCKET names");
                Self::default()
            }
        }
    }

    #[cfg(not(unix))]
    fn connect(_address: Option<std::ffi::OsString>) -> Self {
        Self::default()
    }

    /// Reports a change. If the manager does not read, the datagram is lost: such a manager is
    /// gone.
    pub(crate) fn tell(&self, phase: &ServerPhase) {
        let state = match phase {
            ServerPhase::Ready => "READY=1\nSTATUS=ready".to_owned(),
            // A node that waits for others counts as started: otherwise systemd would stop it at
            // the start's time limit.
            ServerPhase::Waiting(why) => format!("READY=1\nSTATUS=waiting: {why}"),
            ServerPhase::Failed(why) => format!("STATUS=failed: {}", why.replace('\n', " ")),
            ServerPhase::Stopping => "STOPPING=1\nSTATUS=draining".to_owned(),
        };
        #[cfg(unix)]
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!(%error, "systemd not notified");
        }
        #[cfg(not(unix))]
        drop(state);
    }
}

#[cfg(unix)]
fn connected(address: &std::ffi::OsStr) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A start must not hang because the manager does not read.
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::unix::ffi::OsStrExt::as_bytes(address).strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        socket.connect_addr(&address)?;
        return Ok(socket);
    }
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let read = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    #[test]
    fn each_change_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = SystemdNotifier::connect(Some(path.into()));
        notifier.tell(&ServerPhase::Ready);
        assert_eq!(received(&manager), "READY=1\nSTATUS=ready");
        notifier.tell(&ServerPhase::Waiting("no logic node is reached".into()));
        assert_eq!(
            received(&manager),
            "READY=1\nSTATUS=waiting: no logic node is reached"
        );
        notifier.tell(&ServerPhase::Failed("a\nb".into()));
        assert_eq!(received(&manager), "STATUS=failed: a b");
        notifier.tell(&ServerPhase::Stopping);
        assert_eq!(received(&manager), "STOPPING=1\nSTATUS=draining");
    }

    #[test]
    fn without_a_manager_or_with_a_wrong_one_nothing_happens() {
        for address in [None, Some("".into()), Some("/nothing/is/here".into())] {
            SystemdNotifier::connect(address).tell(&ServerPhase::Ready);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_one_too() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("gimlet-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        SystemdNotifier::connect(Some(format!("@{name}").into())).tell(&ServerPhase::Stopping);
        assert!(received(&manager).starts_with("STOPPING=1"));
    }
}
