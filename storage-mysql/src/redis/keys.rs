//! Builds every Redis key; no other module spells one.
//!
//! The part in braces is the hash tag: keys with the same tag are in one slot of a Redis Cluster,
//! so that one script may use them together.
//!
//! | key | content |
//! |---|---|
//! | `{u:1}:routes` | routes of a user's devices, by device |
//! | `{n:name#boot}:lease` | a node's lease |
//! | `{nodes}` | connect nodes that took a lease, each as `boot:name` |
//! | `{commits}` | latest commits of all nodes, newest first |
//! | `{r:5}:meta`, `:kept`, `:marks` | a room's stream id and head, its kept messages, their ages |
//! | `{r:5}:live` | channel of a room |
//! | `{cluster}:id`, `:young` | identity of the cluster; set for one lease after it is written |

use gimlet_core::id::{NodeId, RoomId, UserId};

/// Builds keys with the prefix of this cluster.
#[derive(Clone, Debug)]
pub(super) struct RedisKeys {
    prefix: String,
}

impl RedisKeys {
    pub(super) fn new(prefix: &str) -> Self {
        // A brace in the prefix would become the hash tag and put all keys into one slot.
        Self {
            prefix: prefix.replace(['{', '}'], "_"),
        }
    }

    pub(super) fn routes(&self, user: UserId) -> String {
        format!("{}{{u:{}}}:routes", self.prefix, user.get())
    }

    pub(super) fn lease(&self, node: &NodeId) -> String {
        format!("{}{{n:{node}}}:lease", self.prefix)
    }

    pub(super) fn nodes(&self) -> String {
        format!("{}{{nodes}}", self.prefix)
    }

    pub(super) fn commits(&self) -> String {
        format!("{}{{commits}}", self.prefix)
    }

    pub(super) fn stamp(&self) -> String {
        format!("{}{{cluster}}:id", self.prefix)
    }

    pub(super) fn young(&self) -> String {
        format!("{}{{cluster}}:young", self.prefix)
    }

    pub(super) fn room(&self, room: RoomId, part: &str) -> String {
        format!("{}{{r:{}}}:{part}", self.prefix, room.get())
    }

    pub(super) fn channel(&self, room: RoomId) -> String {
        self.room(room, "live")
    }

    /// Returns the room of a channel.
    pub(super) fn room_of(&self, channel: &[u8]) -> Option<RoomId> {
        let rest = channel.strip_prefix(self.prefix.as_bytes())?;
        let id = rest.strip_prefix(b"{r:")?.strip_suffix(b"}:live")?;
        RoomId::new(std::str::from_utf8(id).ok()?.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_leads_back_to_its_room() {
        let (keys, room) = (RedisKeys::new("a{b}:"), RoomId::new(42).unwrap());
        let channel = keys.channel(room);
        assert_eq!(channel, "a_b_:{r:42}:live");
        assert_eq!(keys.room_of(channel.as_bytes()), Some(room));
        assert_eq!(keys.room_of(b"a_b_:{r:0}:live"), None);
        assert_eq!(RedisKeys::new("x:").room_of(channel.as_bytes()), None);
    }
}
