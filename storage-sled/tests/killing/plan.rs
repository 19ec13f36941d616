//! Content of each send as a function of its name, so that a check needs the name only.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::events::{EventHooks, HookName, HookTarget};
use gimlet_core::id::{GroupId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::store::{AppendRequest, IdempotencyKey, RosterVersion};
use gimlet_core::time::UnixTimestamp;

/// Users who send to each other.
pub(crate) const USERS: u64 = 40;
/// Members of the large group, whose sends become jobs: this many users, numbered after the others.
pub(crate) const LARGE_GROUP_MEMBERS: u64 = 1_200;
/// Concurrent senders.
pub(crate) const SENDERS: u64 = 16;

/// Name of a send: its run, its sender, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SendName {
    pub(crate) run: u64,
    pub(crate) sender: u64,
    pub(crate) number: u64,
}

/// Mixes two numbers into a random one (splitmix64).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(b)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn user(n: u64) -> UserId {
    UserId::new(n).expect("a user's number")
}

/// Returns the hook that wants every send.
pub(crate) fn hook() -> HookName {
    HookName::new("kill").expect("a name")
}

pub(crate) fn small_group() -> (GroupId, Vec<UserId>) {
    let id = GroupId::new(1).expect("a group's number");
    (id, (1..=30).map(user).collect())
}

pub(crate) fn large_group() -> (GroupId, Vec<UserId>) {
    let id = GroupId::new(2).expect("a group's number");
    (
        id,
        (1..=LARGE_GROUP_MEMBERS).map(|n| user(USERS + n)).collect(),
    )
}

impl SendName {
    fn random(self) -> u64 {
        mix(mix(self.run, self.sender), self.number)
    }

    /// Returns the first bytes of the content with this name.
    fn words(self) -> [u8; 24] {
        let mut words = [0; 24];
        let numbers = [self.run, self.sender, self.number];
        let bytes = numbers.into_iter().flat_map(u64::to_be_bytes);
        for (to, from) in words.iter_mut().zip(bytes) {
            *to = from;
        }
        words
    }

    /// Returns the name of the send with this content.
    pub(crate) fn of_content(content: &[u8]) -> Self {
        let (words, _) = content.as_chunks::<8>();
        let number = |at: usize| u64::from_be_bytes(words[at]);
        Self {
            run: number(0),
            sender: number(1),
            number: number(2),
        }
    }

    /// Returns the content: one in twenty has the maximum size, three in twenty take several rows.
    pub(crate) fn content(self) -> Vec<u8> {
        let random = mix(self.random(), 1);
        let size = match random % 20 {
            0 => 60 * 1024,
            1..=3 => 3_000 + usize::try_from(random % 20_000).expect("a small number"),
            _ => 24 + usize::try_from(random % 300).expect("a small number"),
        };
        let mut content = self.words().to_vec();
        let mut block = random;
        while content.len() < size {
            block = mix(block, 2);
            content.extend_from_slice(&block.to_be_bytes());
        }
        content.truncate(size);
        content
    }

    /// Returns the recipients: one, two or many users, a small group, or sometimes a large one.
    fn target(self) -> (Vec<UserId>, Option<GroupId>) {
        let random = self.random();
        let at = |step: u64| user(1 + (random / 100 + step) % USERS);
        match random % 100 {
            0 => {
                let (group, members) = large_group();
                (members, Some(group))
            }
            1..=9 => {
                let (group, members) = small_group();
                (members, Some(group))
            }
            10..=29 => (vec![at(0)], None),
            30..=39 => ((0..3 + random % 17).map(at).collect(), None),
            _ => (vec![at(0), at(1)], None),
        }
    }

    pub(crate) fn recipients(self) -> Vec<UserId> {
        self.target().0
    }

    /// Returns the send itself.
    pub(crate) fn send(self) -> AppendRequest {
        let (recipients, group) = self.target();
        let receiver = group.map_or(MessageReceiver::User(recipients[0]), MessageReceiver::Group);
        AppendRequest {
            message: Arc::new(Message {
                id: MessageId::generate(),
                sender: MessageSender::Business,
                receiver,
                mentions: Vec::new(),
                kind: 1,
                content: MessageContent(self.content().into()),
                sent_at: UnixTimestamp(0),
                unknown: UnknownFields::NONE,
            }),
            recipients: recipients.into(),
            key: Some(IdempotencyKey {
                id: self.words().to_vec(),
                digest: [7; 16],
                window: Duration::from_hours(168),
            }),
            roster: group.map(|group| (group, RosterVersion(1))),
            hooks: EventHooks::new(vec![HookTarget::new(hook(), false)]),
        }
    }
}
