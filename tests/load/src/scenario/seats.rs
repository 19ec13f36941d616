//! Who is on which connection. Serves `flow` and `crew`, which number their users.

use crate::net::ConnId;

/// The users of the connections.
#[derive(Debug)]
pub(super) struct Seats(Vec<u32>);

impl Seats {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The user is on this connection, and nobody else any more.
    pub(super) fn sit(&mut self, conn: ConnId, user: usize) {
        let conn = conn as usize;
        if self.0.len() <= conn {
            self.0.resize(conn + 1, u32::MAX);
        }
        if let Some(seat) = self.0.get_mut(conn) {
            *seat = u32::try_from(user).unwrap_or(u32::MAX);
        }
    }

    /// Who was the last on this connection; no user's number if nobody ever was.
    pub(super) fn of(&self, conn: ConnId) -> Option<usize> {
        self.0.get(conn as usize).map(|&user| user as usize)
    }
}
