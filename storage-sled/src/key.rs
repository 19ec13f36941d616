//! Layout of the one tree: every key is a prefix byte and big-endian numbers of fixed width, with
//! texts last, so that sled orders keys as their numbers. Keys are built only in this file.
//!
//! | prefix | key after it | value | read by |
//! |---|---|---|---|
//! | `A` | user | `Account` | all |
//! | `B` | body | `Message`, stored once for many entries | all; immutable |
//! | `C` | scope (1 byte) | `Number`: the last one reserved | writer |
//! | `D` | device | `Device` | all |
//! | `E` | user, seq | `Entry` | all, up to the durable head; immutable |
//! | `F` | user, friend | `Friend`: a friendship | all |
//! | `G` | group | `Group` | all |
//! | `H` | user | `Number`: the floor, up to which retention has removed entries | all |
//! | `J` | job | `Job` | writer |
//! | `K` | key of a send (text) | `Key` | writer |
//! | `L` | job, chunk (4 bytes) | `Recipients` | writer |
//! | `M` | group, user | `Member` | all |
//! | `N` | first 64 bytes of the nickname, user | empty | all |
//! | `O` | group, job | empty: an open job of the group | writer |
//! | `P` | phone number (text) | `Number`: the user | all |
//! | `Q` | user, asked user | `Friend`: a request not yet answered | writer |
//! | `R` | body | `BodyRefs` | writer |
//! | `S` | user, device | `Number`: the device's ack | all |
//! | `T` | device, user; in earlier versions the device alone | `Token` | all |
//! | `U` | user, group | empty: a group of the user | all |
//! | `V` | – | `Meta` | all |
//! | `W` | – | the number of the last commit (`stamp`) | opening |
//! | `X` | expiry (ms), number | `Expiring`: the keys of sends that expire then | writer |
//! | `Z` | a key of this table, chunk (4 bytes) | the rest of a value longer than one row | as that key |
//! | `b` | user | `Ban` | all |
//! | `d` | hook (1 byte with its length, text), position | `DeadEvent` | all |
//! | `e` | hook (1 byte with its length, text), position | `Event` | all, up to the last durable position |
//! | `k` | API key | `ApiKey` | all |
//! | `j` | user | `JwtUser` | all |
//! | `l` | hook (text) | `EventLease` | writer |
//! | `p` | user, device | `PushToken`: a device's address at a push service | all |
//! | `q` | fingerprint of such an address (32 bytes) | `PushOwner` | writer |
//!
//! Every number has eight bytes unless the table says otherwise. "Read by all" means that a reader
//! must see the durable value: the writer keeps the shadowed value in memory until the new one is
//! durable.

use gimlet_core::events::HookName;
use gimlet_core::id::{ApiKeyId, DeviceId, GroupId, UserId};
use gimlet_core::seq::Seq;
use gimlet_core::store::OutboxPosition;

/// Bytes of a nickname that its index row holds.
pub(crate) const NICKNAME_BYTES: usize = 64;

/// A key with one number.
pub(crate) type OneNumberKey = [u8; 9];
/// A key with two numbers.
pub(crate) type TwoNumberKey = [u8; 17];

fn one(prefix: u8, a: u64) -> OneNumberKey {
    let mut key = [prefix; 9];
    for (to, from) in key.iter_mut().skip(1).zip(a.to_be_bytes()) {
        *to = from;
    }
    key
}

fn two(prefix: u8, a: u64, b: u64) -> TwoNumberKey {
    let mut key = [prefix; 17];
    let numbers = a.to_be_bytes().into_iter().chain(b.to_be_bytes());
    for (to, from) in key.iter_mut().skip(1).zip(numbers) {
        *to = from;
    }
    key
}

fn text(prefix: u8, text: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + text.len());
    key.push(prefix);
    key.extend_from_slice(text);
    key
}

/// Returns the last possible key that consists of `prefix` and a number.
pub(crate) fn last_of(prefix: &OneNumberKey) -> TwoNumberKey {
    let mut key = [u8::MAX; 17];
    for (to, from) in key.iter_mut().zip(prefix) {
        *to = *from;
    }
    key
}

/// Returns the number at the end of a key.
pub(crate) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|raw| u64::from_be_bytes(*raw))
}

/// Every prefix of the table above, ascending. Any other prefix was not written by gimlet.
pub(crate) const PREFIXES: &[u8] = b"ABCDEFGHJKLMNOPQRSTUVWXZbdejklpq";

/// Key of the only `Meta` record.
pub(crate) const META: &[u8] = b"V";

/// Key of the number of the last commit, which every commit sets.
pub(crate) const COMMIT: &[u8] = b"W";

/// Key of a user's account.
pub(crate) fn account(user: UserId) -> OneNumberKey {
    one(b'A', user.get())
}

/// Prefix of all accounts.
pub(crate) const ACCOUNTS: &[u8] = b"A";

/// Key behind which the accounts of all users above this number follow.
pub(crate) fn accounts_above(number: u64) -> OneNumberKey {
    one(b'A', number)
}

/// Key of the user that owns a phone number.
pub(crate) fn phone(phone: &str) -> Vec<u8> {
    text(b'P', phone.as_bytes())
}

/// Returns the common prefix of all index rows of nicknames that begin with this text.
pub(crate) fn nickname_prefix(begin: &str) -> Vec<u8> {
    let cut = begin.as_bytes();
    text(b'N', cut.get(..NICKNAME_BYTES).unwrap_or(cut))
}

/// Key of the index row of a user's nickname.
pub(crate) fn nickname(name: &str, user: UserId) -> Vec<u8> {
    let mut key = nickname_prefix(name);
    key.extend_from_slice(&user.get().to_be_bytes());
    key
}

/// Key of a user's token on a device.
pub(crate) fn token(device: DeviceId, user: UserId) -> TwoNumberKey {
    two(b'T', device.get(), user.get())
}

/// Prefix of the tokens on a device. The row with exactly this key is a token of an earlier
/// version, which kept one token for each device.
pub(crate) fn tokens(device: DeviceId) -> OneNumberKey {
    one(b'T', device.get())
}

/// Key of a user's ban.
pub(crate) fn ban(user: UserId) -> OneNumberKey {
    one(b'b', user.get())
}

/// Key of an API key.
pub(crate) fn api_key(id: ApiKeyId) -> OneNumberKey {
    one(b'k', id.get())
}

/// Prefix of all API keys.
pub(crate) const API_KEYS: &[u8] = b"k";

/// Key of a user that JWTs name.
pub(crate) fn jwt_user(user: UserId) -> OneNumberKey {
    one(b'j', user.get())
}

/// Prefix of all users that JWTs name.
pub(crate) const JWT_USERS: &[u8] = b"j";

/// Key of a device.
pub(crate) fn device(device: DeviceId) -> OneNumberKey {
    one(b'D', device.get())
}

/// Key of the ack of a device in a user's inbox.
pub(crate) fn ack(user: UserId, device: DeviceId) -> TwoNumberKey {
    two(b'S', user.get(), device.get())
}

/// Prefix of the acks of all devices of a user.
pub(crate) fn acks(user: UserId) -> OneNumberKey {
    one(b'S', user.get())
}

/// Key of the floor of an inbox.
pub(crate) fn floor(user: UserId) -> OneNumberKey {
    one(b'H', user.get())
}

/// Key of an inbox entry.
pub(crate) fn entry(user: UserId, seq: Seq) -> TwoNumberKey {
    two(b'E', user.get(), seq.get())
}

/// Prefix of all entries of an inbox.
pub(crate) fn entries(user: UserId) -> OneNumberKey {
    one(b'E', user.get())
}

/// Key of a message that is stored once for many entries.
pub(crate) fn body(body: u64) -> OneNumberKey {
    one(b'B', body)
}

/// Key of the number of entries that refer to such a message.
pub(crate) fn body_refs(body: u64) -> OneNumberKey {
    one(b'R', body)
}

/// Key of a counter.
pub(crate) const fn counter(scope: u8) -> [u8; 2] {
    [b'C', scope]
}

/// Key of the counter of events' positions.
pub(crate) const LAST_EVENT: [u8; 2] = counter(6);

/// First byte of the keys of events.
pub(crate) const EVENTS: u8 = b'e';

/// First byte of the keys of dead letters.
pub(crate) const DEAD_EVENTS: u8 = b'd';

/// Prefix of a hook's events, or of its dead letters.
pub(crate) fn hook_rows(prefix: u8, hook: &HookName) -> Vec<u8> {
    let name = hook.as_str().as_bytes();
    let mut key = Vec::with_capacity(2 + name.len() + 8);
    // The length keeps the rows of a hook apart from those of one whose name begins with its name.
    key.extend([prefix, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    key.extend_from_slice(name);
    key
}

/// Key of an event, or of a dead letter.
pub(crate) fn hook_row(prefix: u8, hook: &HookName, position: OutboxPosition) -> Vec<u8> {
    let mut key = hook_rows(prefix, hook);
    key.extend_from_slice(&position.0.to_be_bytes());
    key
}

/// Returns the hook's name in the key of an event or of a dead letter.
pub(crate) fn hook_name(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.get(1..)?.split_first()?;
    let (name, position) = rest.split_at_checked(usize::from(*length))?;
    (position.len() == 8)
        .then(|| std::str::from_utf8(name).ok())
        .flatten()
}

/// Key of the lease of a hook.
pub(crate) fn hook_lease(hook: &HookName) -> Vec<u8> {
    text(b'l', hook.as_str().as_bytes())
}

/// Key of the idempotency record of a send.
pub(crate) fn send_key(id: &[u8]) -> Vec<u8> {
    text(b'K', id)
}

/// Key of one of the lists of send keys that expire in this millisecond.
pub(crate) fn expiry(expires_ms: i64, number: u64) -> TwoNumberKey {
    two(b'X', u64::try_from(expires_ms).unwrap_or(0), number)
}

/// Prefix of all expiry lists.
pub(crate) const EXPIRIES: &[u8] = b"X";

/// Prefix of the expiry lists of one millisecond.
pub(crate) fn expiries(expires_ms: i64) -> OneNumberKey {
    one(b'X', u64::try_from(expires_ms).unwrap_or(0))
}

/// Key of a fan-out job.
pub(crate) fn job(job: u64) -> OneNumberKey {
    one(b'J', job)
}

/// Key of a chunk of a job's recipients.
pub(crate) fn recipients(job: u64, chunk: u32) -> [u8; 13] {
    let mut key = [b'L'; 13];
    let numbers = job.to_be_bytes().into_iter().chain(chunk.to_be_bytes());
    for (to, from) in key.iter_mut().skip(1).zip(numbers) {
        *to = from;
    }
    key
}

/// Key of an open job of a group.
pub(crate) fn open_job(group: GroupId, job: u64) -> TwoNumberKey {
    two(b'O', group.get(), job)
}

/// Prefix of the open jobs of a group.
pub(crate) fn open_jobs(group: GroupId) -> OneNumberKey {
    one(b'O', group.get())
}

/// Prefix of all jobs.
pub(crate) const JOBS: &[u8] = b"J";

/// Key of a group.
pub(crate) fn group(group: GroupId) -> OneNumberKey {
    one(b'G', group.get())
}

/// Key of a member of a group.
pub(crate) fn member(group: GroupId, user: UserId) -> TwoNumberKey {
    two(b'M', group.get(), user.get())
}

/// Prefix of the members of a group.
pub(crate) fn members(group: GroupId) -> OneNumberKey {
    one(b'M', group.get())
}

/// Key of a group of a user.
pub(crate) fn group_of(user: UserId, group: GroupId) -> TwoNumberKey {
    two(b'U', user.get(), group.get())
}

/// Prefix of the groups of a user.
pub(crate) fn groups_of(user: UserId) -> OneNumberKey {
    one(b'U', user.get())
}

/// Key of a friend of a user.
pub(crate) fn friend(user: UserId, friend: UserId) -> TwoNumberKey {
    two(b'F', user.get(), friend.get())
}

/// Prefix of the friends of a user.
pub(crate) fn friends(user: UserId) -> OneNumberKey {
    one(b'F', user.get())
}

/// Key of a user's unanswered friend request.
pub(crate) fn request(user: UserId, asked: UserId) -> TwoNumberKey {
    two(b'Q', user.get(), asked.get())
}

/// Key of the push address of a user on a device.
pub(crate) fn push_token(user: UserId, device: DeviceId) -> TwoNumberKey {
    two(b'p', user.get(), device.get())
}

/// Prefix of the push addresses of a user.
pub(crate) fn push_tokens(user: UserId) -> OneNumberKey {
    one(b'p', user.get())
}

/// Key of the owner of a push address.
pub(crate) fn push_owner(fingerprint: &[u8; 32]) -> Vec<u8> {
    text(b'q', fingerprint)
}

/// Key of a further row of a long value.
pub(crate) fn value_chunk(of: &[u8], number: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(of.len() + 5);
    key.push(b'Z');
    key.extend_from_slice(of);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Returns true if readers must see the shadowed value of this row until the new one is durable.
///
/// Entries and messages are only added above the durable head, which readers do not pass, so for
/// them only a removal counts. Events are added above the last durable position, and a removal that
/// shows early only means that the event was delivered. The remaining rows are read by the writer
/// alone.
pub(crate) fn visible_to_readers(key: &[u8], removed: bool) -> bool {
    match key.first() {
        Some(b'Z') => key
            .get(1..)
            .is_some_and(|of| visible_to_readers(of, removed)),
        Some(b'E' | b'B') => removed,
        Some(prefix) => b"ADFGHMNPSTUVdjkp".contains(prefix),
        None => false,
    }
}

/// Returns true if values under this key may be longer than one row and may be overwritten by
/// shorter ones.
pub(crate) fn may_shrink(key: &[u8]) -> bool {
    key.first()
        .is_some_and(|prefix| b"ADFGMQjp".contains(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_their_numbers() {
        let user = |n| UserId::new(n).unwrap();
        assert!(entry(user(1), Seq::new(255)) < entry(user(1), Seq::new(256)));
        assert!(entry(user(1), Seq::new(u64::MAX)) < entry(user(2), Seq::new(1)));
        assert!(floor(user(255)) < floor(user(256)));
        assert!(recipients(1, 255) < recipients(1, 256));
        assert_eq!(last_number(&entry(user(1), Seq::new(7))), Some(7));
        assert!(expiry(5, u64::MAX).as_slice() < expiries(6).as_slice());
    }

    #[test]
    fn the_rows_of_a_hook_are_its_own() {
        let hook = |name| HookName::new(name).unwrap();
        let key = |name, at| hook_row(EVENTS, &hook(name), OutboxPosition(at));
        assert!(key("a", 255) < key("a", 256));
        assert!(!key("ab", 1).starts_with(&hook_rows(EVENTS, &hook("a"))));
        assert_eq!(hook_name(&key("ab", 7)), Some("ab"));
        assert_eq!(last_number(&key("ab", 7)), Some(7));
        assert_eq!(hook_name(b"e"), None);
    }

    #[test]
    fn a_long_nickname_is_cut_and_its_user_is_still_found() {
        let user = UserId::new(9).unwrap();
        let name = "é".repeat(100);
        let key = nickname(&name, user);
        assert!(key.starts_with(&nickname_prefix(&name)));
        assert_eq!(last_number(&key), Some(9));
    }

    #[test]
    fn removals_of_entries_show_and_additions_do_not() {
        let key = entry(UserId::new(1).unwrap(), Seq::new(1));
        assert!(!visible_to_readers(&key, false));
        assert!(visible_to_readers(&value_chunk(&key, 0), true));
        assert!(visible_to_readers(&floor(UserId::new(1).unwrap()), false));
        assert!(!visible_to_readers(&send_key(b"x"), true));
    }
}
