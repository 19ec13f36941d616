//! The place of an HTTP connection among the connection limits.
//!
//! A connection counts against the limit of HTTP connections until it carries an event stream. From
//! then on it is the connection of a client, as a socket is, and counts against
//! `limits.max_connections`; the place that it had is free for others. Over HTTP/2, each further
//! stream at the same time takes a place of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gimlet_http::{StreamLimit, StreamPermit};
use gimlet_listen::admission::{ConnectionLimiter, ConnectionPermit, LimitReached};

/// The place of one connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSeat {
    /// Places of clients; `None` on a listener without event streams.
    clients: Option<Arc<ConnectionLimiter>>,
    state: Arc<Mutex<SeatState>>,
}

#[derive(Debug)]
struct SeatState {
    /// The place that the connection has, until its end.
    permit: ConnectionPermit,
    /// Set once that is a client's place.
    is_client: bool,
    /// Set while a stream has the connection's own place.
    is_lent: bool,
}

/// Gives the connection's own place back to it.
#[derive(Debug)]
struct LentSeat(ConnectionSeat);

impl Drop for LentSeat {
    fn drop(&mut self) {
        self.0.lock().is_lent = false;
    }
}

impl ConnectionSeat {
    /// Makes the seat of a connection that has this permit.
    pub(crate) fn new(permit: ConnectionPermit, clients: Option<Arc<ConnectionLimiter>>) -> Self {
        Self {
            clients,
            state: Arc::new(Mutex::new(SeatState {
                permit,
                is_client: false,
                is_lent: false,
            })),
        }
    }

    /// Takes a client's place for an event stream of the client at this address.
    ///
    /// # Errors
    /// The node, or the address, has all connections it may.
    pub(crate) fn open_stream(&self, client: SocketAddr) -> Result<StreamPermit, StreamLimit> {
        let Some(clients) = &self.clients else {
            return Ok(StreamPermit::new(()));
        };
        let mut state = self.lock();
        if state.is_client && !state.is_lent {
            state.is_lent = true;
            return Ok(StreamPermit::new(LentSeat(self.clone())));
        }
        let permit = clients.enter(client).map_err(|full| noted(full, client))?;
        if state.is_client {
            return Ok(StreamPermit::new(permit));
        }
        // The HTTP place is given back here: its permit is dropped.
        state.permit = permit;
        (state.is_client, state.is_lent) = (true, true);
        Ok(StreamPermit::new(LentSeat(self.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, SeatState> {
        // The lock is held for a few assignments; a panic of `enter` leaves the state as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn noted(full: LimitReached, client: SocketAddr) -> StreamLimit {
    match full {
        LimitReached::Node => {
            gimlet_core::warn_rated!(
                addr = %client,
                "event stream rejected: node is at limits.max_connections"
            );
            StreamLimit::Node
        }
        LimitReached::Address => {
            gimlet_listen::note_address(client);
            StreamLimit::Address
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    #[test]
    fn a_stream_leaves_its_http_place_to_others() {
        let (http, clients) = (ConnectionLimiter::new(1, 1), ConnectionLimiter::new(2, 2));
        let addr = at("192.0.2.1:1");
        let seat = ConnectionSeat::new(http.enter(addr).unwrap(), Some(Arc::clone(&clients)));
        assert!(http.enter(addr).is_err());
        let stream = seat.open_stream(addr).unwrap();
        let other = ConnectionSeat::new(http.enter(addr).unwrap(), Some(Arc::clone(&clients)));
        let second = other.open_stream(addr).unwrap();
        assert!(http.enter(addr).is_ok(), "both are clients now");
        assert!(clients.enter(addr).is_err(), "and count as such");
        drop((stream, second));
        assert!(clients.enter(addr).is_err(), "while they are connected");
        drop((seat, other));
        assert!(clients.enter(addr).is_ok());
    }

    #[test]
    fn each_further_stream_of_a_connection_takes_a_place_of_its_own() {
        let (http, clients) = (ConnectionLimiter::new(1, 1), ConnectionLimiter::new(2, 9));
        let addr = at("192.0.2.1:1");
        let seat = ConnectionSeat::new(http.enter(addr).unwrap(), Some(Arc::clone(&clients)));
        let first = seat.open_stream(addr).unwrap();
        let second = seat.open_stream(addr).unwrap();
        assert_eq!(seat.open_stream(addr).unwrap_err(), StreamLimit::Node);
        drop(first);
        // The connection's own place is free for its next stream.
        let third = seat.open_stream(addr).unwrap();
        assert_eq!(seat.open_stream(addr).unwrap_err(), StreamLimit::Node);
        drop(second);
        let fourth = seat.open_stream(addr).unwrap();
        drop((third, fourth, seat));
        let free = (clients.enter(addr), clients.enter(addr));
        assert!(free.0.is_ok() && free.1.is_ok());
    }

    #[test]
    fn an_address_has_its_limit_and_a_refused_stream_keeps_the_http_place() {
        let (http, clients) = (ConnectionLimiter::new(1, 1), ConnectionLimiter::new(9, 1));
        let addr = at("192.0.2.1:1");
        let _socket = clients.enter(addr).unwrap();
        let seat = ConnectionSeat::new(http.enter(addr).unwrap(), Some(Arc::clone(&clients)));
        assert_eq!(seat.open_stream(addr).unwrap_err(), StreamLimit::Address);
        assert!(http.enter(addr).is_err());
    }
}
