//! How many connections each listener may have, so that all together stay below the descriptors
//! that the system gives.

use std::sync::Arc;

use gimlet_transport::admission::Admission;

use crate::config::Limits;

/// Descriptors for everything but these connections: storage, other nodes, listeners.
const RESERVED: usize = 256;
/// Descriptors to reckon with if the system does not say, or says very little.
const FEWEST: usize = 1_024;
/// Connections of the ops listener.
const OPS: usize = 32;
/// Connections of the file service at most; each may have a file open.
const HTTP: usize = 512;
/// Connections of the internal listener at most.
const INTERNAL: usize = 1_024;

/// What the other listeners keep, however many connections an operator asks for.
const LEFT: usize = 288;

/// The places of each listener.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Clients' TCP and WebSocket.
    pub(crate) clients: Arc<Admission>,
    /// Clients' gRPC.
    pub(crate) grpc: Arc<Admission>,
    /// Backends' and other nodes' gRPC.
    pub(crate) internal: Arc<Admission>,
    /// Files.
    pub(crate) http: Arc<Admission>,
    /// Probes and operators.
    pub(crate) ops: Arc<Admission>,
}

impl Places {
    /// Shares out what this process may have open.
    pub(crate) fn new(limits: &Limits) -> Self {
        let open = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(0, |(soft, _)| soft);
        let share = Share::of(usize::try_from(open).unwrap_or(usize::MAX), limits);
        if share.clients < limits.max_connections {
            tracing::warn!(
                wanted = limits.max_connections,
                granted = share.clients,
                "limits.max_connections is more than the descriptors allow; raise the limit of \
                 open files"
            );
        }
        let each = |most: usize| match limits.per_address {
            0 => usize::MAX,
            some => some.min(most),
        };
        Self {
            clients: Admission::new(share.clients, each(usize::MAX)),
            grpc: Admission::new(share.grpc, each(usize::MAX)),
            internal: Admission::new(share.internal, usize::MAX),
            http: Admission::new(share.http, each(share.http / 4)),
            ops: Admission::new(OPS, usize::MAX),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    clients: usize,
    grpc: usize,
    internal: usize,
    http: usize,
}

impl Share {
    fn of(descriptors: usize, limits: &Limits) -> Self {
        let free = descriptors.max(FEWEST).saturating_sub(RESERVED + OPS);
        // A file is open while it is sent.
        let others = |free: usize| {
            let (http, internal) = ((free / 16).min(HTTP), (free / 8).min(INTERNAL));
            (http, internal, free.saturating_sub(2 * http + internal))
        };
        let clients = match limits.max_connections {
            0 => others(free).2 / 4 * 3,
            wanted => wanted.min(free.saturating_sub(LEFT)),
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
        let limits = Limits::default();
        for descriptors in [1_024, 4_096, 65_536, 1 << 20] {
            let share = Share::of(descriptors, &limits);
            let all = share.clients + share.grpc + share.internal + 2 * share.http + OPS;
            assert!(all + RESERVED <= descriptors, "{share:?}");
            assert!(share.clients > descriptors / 3, "{share:?}");
        }
        assert_eq!(Share::of(0, &limits), Share::of(FEWEST, &limits));
    }

    #[test]
    fn an_operator_may_ask_for_fewer_or_for_nearly_all_and_not_for_too_many() {
        let asked = |max_connections| {
            let limits = Limits {
                max_connections,
                ..Limits::default()
            };
            Share::of(20_000, &limits)
        };
        assert_eq!(asked(10).clients, 10);
        assert_eq!(asked(19_000).clients, 19_000);
        let share = asked(1 << 30);
        assert!(share.clients < 20_000 && share.http > 0 && share.internal > 0 && share.grpc > 0);
    }
}
