//! Connection limits of the listeners, chosen so that all together stay below the file descriptors
//! of the process.

use std::sync::Arc;

use gimlet_listen::admission::ConnectionLimiter;

use crate::config::LimitsConfig;

/// Descriptors for everything but these connections: storage, other nodes, listeners.
const RESERVED_DESCRIPTORS: usize = 256;
/// Assumed number of descriptors if the system does not say.
const ASSUMED_DESCRIPTORS: usize = 1_024;
/// Fewer descriptors than this cause a warning.
const FEW_DESCRIPTORS: usize = 1_024;
/// Largest number of connections of the ops listener.
const MAX_OPS_CONNECTIONS: usize = 32;
/// Largest number of connections of the file service; each may have a file open.
const MAX_HTTP_CONNECTIONS: usize = 512;
/// Largest number of connections of the internal listener.
const MAX_INTERNAL_CONNECTIONS: usize = 1_024;

/// Descriptors that stay for the other listeners, however many connections an operator configures.
const MIN_OTHER_DESCRIPTORS: usize = 288;

/// Returns the descriptors kept for the rest of the process. With few descriptors it is half of
/// them: storage and listeners take some 40, and each rejected connection takes one for a moment.
fn reserved(descriptors: usize) -> usize {
    RESERVED_DESCRIPTORS.min(descriptors / 2)
}

/// Returns the connections of the ops listener.
fn ops(descriptors: usize) -> usize {
    MAX_OPS_CONNECTIONS.min(descriptors / 32).max(2)
}

/// The connection limits of each listener.
#[derive(Clone, Debug)]
pub(crate) struct ListenerLimits {
    /// Clients' TCP and WebSocket.
    pub(crate) clients: Arc<ConnectionLimiter>,
    /// Clients' gRPC.
    pub(crate) grpc: Arc<ConnectionLimiter>,
    /// Backends' and other nodes' gRPC.
    pub(crate) internal: Arc<ConnectionLimiter>,
    /// Files.
    pub(crate) http: Arc<ConnectionLimiter>,
    /// Probes and operators.
    pub(crate) ops: Arc<ConnectionLimiter>,
}

impl ListenerLimits {
    /// Divides the descriptors of this process among the listeners.
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        let open = gimlet_web::descriptors::limit().unwrap_or(0);
        let open = match usize::try_from(open) {
            Ok(0) => ASSUMED_DESCRIPTORS,
            open => open.unwrap_or(usize::MAX),
        };
        let share = DescriptorShare::of(open, limits);
        if open < FEW_DESCRIPTORS {
            tracing::warn!(
                descriptors = open,
                clients = share.clients,
                "few files may be open; raise the limit of open files (ulimit -n, LimitNOFILE=)"
            );
        }
        if share.clients < limits.max_connections {
            tracing::warn!(
                wanted = limits.max_connections,
                granted = share.clients,
                "limits.max_connections is more than the descriptors allow; raise the limit of \
                 open files"
            );
        }
        let each = |max: usize| match limits.per_address {
            0 => usize::MAX,
            some => some.min(max),
        };
        Self {
            clients: ConnectionLimiter::new(share.clients, each(usize::MAX)),
            grpc: ConnectionLimiter::new(share.grpc, each(usize::MAX)),
            internal: ConnectionLimiter::new(share.internal, usize::MAX),
            http: ConnectionLimiter::new(share.http, each(share.http / 4)),
            ops: ConnectionLimiter::new(ops(open), usize::MAX),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DescriptorShare {
    clients: usize,
    grpc: usize,
    internal: usize,
    http: usize,
}

impl DescriptorShare {
    fn of(descriptors: usize, limits: &LimitsConfig) -> Self {
        let free = descriptors.saturating_sub(reserved(descriptors) + ops(descriptors));
        // The file service counts twice: a file is open while it is sent.
        let others = |free: usize| {
            let (http, internal) = (
                (free / 16).min(MAX_HTTP_CONNECTIONS),
                (free / 8).min(MAX_INTERNAL_CONNECTIONS),
            );
            (http, internal, free.saturating_sub(2 * http + internal))
        };
        let clients = match limits.max_connections {
            0 => others(free).2 / 4 * 3,
            wanted => wanted.min(free.saturating_sub(MIN_OTHER_DESCRIPTORS.min(free / 2))),
        };
        let (http, internal, grpc) = others(free - clients);
        Self {
            clients,
            grpc,
            internal,
            http,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_stay_below_the_descriptors() {
        let limits = LimitsConfig::default();
        for descriptors in [128, 256, 512, 1_024, 4_096, 65_536, 1 << 20] {
            let share = DescriptorShare::of(descriptors, &limits);
            let others = share.grpc + share.internal + 2 * share.http + ops(descriptors);
            let kept = reserved(descriptors);
            assert!(share.clients + others + kept <= descriptors, "{share:?}");
            assert!(share.clients > descriptors / 5, "{share:?}");
            assert!(kept >= 64, "{descriptors}");
        }
    }

    /// `gimlet.toml` and docs/configuration.md name these shares.
    #[test]
    fn clients_get_the_documented_share() {
        let limits = LimitsConfig::default();
        let percent = |descriptors| {
            let clients = DescriptorShare::of(descriptors, &limits).clients;
            (clients * 100 + descriptors / 2) / descriptors
        };
        assert_eq!([1_024, 4_096, 65_536].map(percent), [40, 52, 72]);
    }

    #[test]
    fn an_operator_may_ask_for_fewer_or_for_nearly_all_and_not_for_too_many() {
        let asked = |max_connections| {
            let limits = LimitsConfig {
                max_connections,
                ..LimitsConfig::default()
            };
            DescriptorShare::of(20_000, &limits)
        };
        assert_eq!(asked(10).clients, 10);
        assert_eq!(asked(19_000).clients, 19_000);
        let share = asked(1 << 30);
        assert!(share.clients < 20_000 && share.http > 0 && share.internal > 0 && share.grpc > 0);
    }
}
