//! Users of the connections. Serves the flows and the simulated users.

use crate::net::ConnId;

/// User of each connection.
#[derive(Debug)]
pub(crate) struct ConnectionUsers(Vec<u32>);

impl ConnectionUsers {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Assigns the connection to the user, instead of any user before.
    pub(crate) fn sit(&mut self, conn: ConnId, user: usize) {
        let conn = conn as usize;
        if self.0.len() <= conn {
            self.0.resize(conn + 1, u32::MAX);
        }
        if let Some(seat) = self.0.get_mut(conn) {
            *seat = u32::try_from(user).unwrap_or(u32::MAX);
        }
    }

    /// Returns the last user of this connection; no user's number if there never was one.
    pub(crate) fn of(&self, conn: ConnId) -> Option<usize> {
        self.0.get(conn as usize).map(|&user| user as usize)
    }
}
