//! Sends on their way: written, answered, and repeated with the same id until the server has given
//! a final answer. Independent of sockets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use gimlet_proto::pb;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::backoff::{ceiling, random_part};
use crate::error::ClientError;
use crate::event::{MessageContent, MessageTarget};
use crate::link::MAX_FRAME;

/// Bytes that an `Input` adds to its data, at most: tags, type, request id, length.
const MAX_INPUT_OVERHEAD: usize = 24;
/// The longest wait that the server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
/// The longest ceiling between two attempts on a working connection.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// A message to send.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageDraft {
    /// A user or a group. Use `ApiClient::push_room` to write to a room.
    pub to: MessageTarget,
    /// The content.
    pub content: MessageContent,
    /// The mentioned users.
    pub mentions: Vec<i64>,
    /// True to store it; otherwise it goes to connected devices only, without a promise.
    pub persist: bool,
    /// The id by which the server recognises a repeat, at most 64 bytes. `None`: a new UUID. Set
    /// one, stored with the message, to be able to repeat the send after a restart of the
    /// application.
    pub id: Option<String>,
}

impl MessageDraft {
    /// Creates a message that is stored, with a new id.
    #[must_use]
    pub const fn new(to: MessageTarget, content: MessageContent) -> Self {
        Self {
            to,
            content,
            mentions: Vec::new(),
            persist: true,
            id: None,
        }
    }

    /// Encodes the request. The time of sending is taken from a new UUID.
    pub(crate) fn encode(self) -> Result<Bytes, ClientError> {
        let (receiver_type, receiver_id) = match self.to {
            MessageTarget::User(id) => (pb::ReceiverType::RtUser, id),
            MessageTarget::Group(id) => (pb::ReceiverType::RtGroup, id),
            MessageTarget::Room(_) => {
                let text = "a room is written to by Api::push_room, not by send";
                return Err(ClientError::Invalid(text.to_owned()));
            }
        };
        if receiver_id <= 0 {
            let text = format!("the receiver's id is {receiver_id}; ids start at 1");
            return Err(ClientError::Invalid(text));
        }
        let now = Uuid::now_v7();
        let id = self.id.unwrap_or_else(|| now.to_string());
        if id.is_empty() || id.len() > 64 {
            let text = format!(
                "the message's id has {} bytes; it must have 1 to 64",
                id.len()
            );
            return Err(ClientError::Invalid(text));
        }
        let (message_type, message_content) = self.content.encode();
        let request = pb::SendMessageReq {
            receiver_type: receiver_type as i32,
            receiver_id,
            to_user_ids: self.mentions,
            message_type,
            message_content,
            send_time: millis(now),
            is_persist: self.persist,
            client_message_id: id,
        };
        let len = request.encoded_len();
        let max = MAX_FRAME - MAX_INPUT_OVERHEAD;
        if len > max {
            return Err(ClientError::TooLarge { len, max });
        }
        Ok(request.encode_to_vec().into())
    }
}

/// Returns milliseconds since 1970 UTC, from a UUID of version 7.
fn millis(id: Uuid) -> i64 {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    i64::try_from(seconds).unwrap_or(0) * 1_000 + i64::from(nanos / 1_000_000)
}

/// The server's answer to a send: it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendReceipt {
    /// The number of the sender's own copy; 0 if it was not stored.
    pub seq: i64,
    /// The message's own id (16 bytes, a UUID), the same for all receivers.
    pub message_id: Bytes,
    /// True if an earlier attempt with the same id had been stored; this is its result.
    pub repeated: bool,
}

/// State of a send for the waiting caller, in case the deadline comes first.
#[derive(Debug, Default)]
pub(crate) struct SendProgress(Mutex<(bool, Option<String>)>);

impl SendProgress {
    /// Returns whether it was written to a connection, and the last obstacle.
    pub(crate) fn get(&self) -> (bool, Option<String>) {
        self.0.lock().map_or((true, None), |state| state.clone())
    }

    fn set(&self, change: impl FnOnce(&mut (bool, Option<String>))) {
        if let Ok(mut state) = self.0.lock() {
            change(&mut state);
        }
    }
}

/// One send and its waiting caller.
#[derive(Debug)]
pub(crate) struct SendJob {
    pub(crate) data: Bytes,
    pub(crate) persist: bool,
    pub(crate) reply: oneshot::Sender<Result<SendReceipt, ClientError>>,
    pub(crate) progress: Arc<SendProgress>,
    attempts: u32,
    not_before: Option<Instant>,
}

impl SendJob {
    pub(crate) fn new(
        data: Bytes,
        persist: bool,
        reply: oneshot::Sender<Result<SendReceipt, ClientError>>,
        progress: Arc<SendProgress>,
    ) -> Self {
        Self {
            data,
            persist,
            reply,
            progress,
            attempts: 0,
            not_before: None,
        }
    }

    fn finish(self, result: Result<SendReceipt, ClientError>) {
        // A caller that gave up has dropped the other end.
        drop(self.reply.send(result));
    }
}

/// All sends of a client without a final answer.
#[derive(Debug)]
pub(crate) struct SendQueue {
    waiting: VecDeque<SendJob>,
    flying: BTreeMap<i64, SendJob>,
    max: usize,
    backoff_base: Duration,
}

impl SendQueue {
    pub(crate) const fn new(max: usize, backoff_base: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            flying: BTreeMap::new(),
            max,
            backoff_base,
        }
    }

    /// Returns whether another send may be added.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.waiting.len() + self.flying.len() >= self.max {
            self.waiting.retain(|job| !job.reply.is_closed());
        }
        self.waiting.len() + self.flying.len() < self.max
    }

    pub(crate) fn add(&mut self, job: SendJob) {
        self.waiting.push_back(job);
    }

    /// Returns whether an answer is due on this connection.
    pub(crate) fn are_flying(&self) -> bool {
        !self.flying.is_empty()
    }

    /// Returns the data of the next send that may be written now, and assigns `request_id` to it.
    pub(crate) fn write_next(&mut self, request_id: i64, now: Instant) -> Option<Bytes> {
        self.waiting.retain(|job| !job.reply.is_closed());
        let ready = |job: &SendJob| job.not_before.is_none_or(|time| time <= now);
        let at = self.waiting.iter().position(ready)?;
        let job = self.waiting.remove(at)?;
        job.progress.set(|state| state.0 = true);
        let data = job.data.clone();
        self.flying.insert(request_id, job);
        Some(data)
    }

    /// Returns the time of the earliest retry, if one is waiting.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|job| job.not_before).min()
    }

    /// Takes an answer; returns the seq of the own copy if it was stored.
    pub(crate) fn answered(&mut self, output: &pb::Output, now: Instant) -> Option<i64> {
        let mut job = self.flying.remove(&output.request_id)?;
        if output.code == 0 {
            let Ok(sent) = pb::SendMessageResp::decode(output.data.clone()) else {
                self.again(job, "the answer could not be read", Duration::ZERO, now);
                return None;
            };
            job.finish(Ok(SendReceipt {
                seq: sent.seq,
                message_id: sent.message_id,
                repeated: sent.repeated,
            }));
            return Some(sent.seq);
        }
        // A refusal that time can mend is retried with the same id; a message that is not stored
        // has no id that the server remembers, so after an uncertain answer it is not repeated.
        let wait = match pb::RefusalCode::try_from(output.code) {
            Ok(pb::RefusalCode::DeadlineExceeded) if !job.persist => {
                job.finish(Err(ClientError::Unknown));
                return None;
            }
            Ok(pb::RefusalCode::Unavailable | pb::RefusalCode::DeadlineExceeded) => {
                let max = ceiling(self.backoff_base, MAX_RETRY_DELAY, job.attempts);
                job.attempts = job.attempts.saturating_add(1);
                let own = random_part(max);
                Some(requested_wait(output).map_or(own, |asked| asked.max(own)))
            }
            Ok(pb::RefusalCode::ResourceExhausted) => requested_wait(output),
            _ => None,
        };
        match wait {
            Some(wait) => self.again(job, &output.message, wait, now),
            None => job.finish(Err(ClientError::Refused {
                code: output.code,
                message: output.message.clone(),
            })),
        }
        None
    }

    fn again(&mut self, mut job: SendJob, why: &str, wait: Duration, now: Instant) {
        job.progress.set(|state| state.1 = Some(why.to_owned()));
        job.not_before = Some(now + wait);
        self.waiting.push_back(job);
    }

    /// Takes back the unanswered sends of a lost connection, for the next one.
    pub(crate) fn disconnected(&mut self, why: &str) {
        // From the last to the first, each to the front of the queue: they are written again in
        // their order and before sends that were never written.
        while let Some((_, mut job)) = self.flying.pop_last() {
            if !job.persist {
                job.finish(Err(ClientError::Unknown));
                continue;
            }
            job.progress.set(|state| state.1 = Some(why.to_owned()));
            job.not_before = None;
            self.waiting.push_front(job);
        }
    }

    /// Ends all sends when there will be no more connections.
    pub(crate) fn close(&mut self) {
        let flying = std::mem::take(&mut self.flying).into_values();
        for job in flying.chain(self.waiting.drain(..)) {
            job.finish(Err(ClientError::Closed));
        }
    }
}

/// Returns how long the server asks to wait, plus a random part of that: others that were refused
/// at the same time wait as well.
fn requested_wait(output: &pb::Output) -> Option<Duration> {
    let after = u64::try_from(output.retry_after_ms)
        .ok()
        .filter(|ms| *ms > 0)?;
    let after = Duration::from_millis(after).min(MAX_RETRY_AFTER);
    Some(after + random_part(after / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(
        sends: &mut SendQueue,
        name: &str,
    ) -> oneshot::Receiver<Result<SendReceipt, ClientError>> {
        let (reply, answer) = oneshot::channel();
        let data = Bytes::copy_from_slice(name.as_bytes());
        sends.add(SendJob::new(data, true, reply, Arc::default()));
        answer
    }

    fn output(request_id: i64, code: i32, message: &str) -> pb::Output {
        pb::Output {
            request_id,
            code,
            message: message.to_owned(),
            ..pb::Output::default()
        }
    }

    #[test]
    fn the_field_says_when_and_words_do_not() {
        let asked = |retry_after_ms, words: &str| {
            requested_wait(&pb::Output {
                retry_after_ms,
                ..output(1, 8, words)
            })
        };
        let wait = asked(1_500, "in other words").unwrap();
        assert!((1_500..=2_250).contains(&wait.as_millis()), "{wait:?}");
        assert_eq!(asked(0, "too many requests; try again in 1500 ms"), None);
        assert_eq!(asked(-1, ""), None);
        assert!(asked(i64::MAX, "").unwrap() <= MAX_RETRY_AFTER * 2);
    }

    #[tokio::test]
    async fn a_lost_connection_repeats_in_order_and_first() {
        let mut sends = SendQueue::new(8, Duration::from_millis(1));
        let _waits: Vec<_> = ["a", "b", "c"].map(|name| job(&mut sends, name)).into();
        let now = Instant::now();
        assert_eq!(sends.write_next(1, now).unwrap(), "a");
        assert_eq!(sends.write_next(2, now).unwrap(), "b");
        sends.disconnected("gone");
        for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(sends.write_next(id, now).unwrap(), name);
        }
        assert!(sends.write_next(4, now).is_none());
    }

    #[tokio::test]
    async fn answers_are_distinguished() {
        let mut sends = SendQueue::new(8, Duration::from_millis(1));
        let mut refused = job(&mut sends, "a");
        let mut limited = job(&mut sends, "b");
        let mut sent = job(&mut sends, "c");
        let now = Instant::now();
        for id in 1..=3 {
            sends.write_next(id, now).unwrap();
        }
        assert_eq!(
            sends.answered(&output(1, 10_011, "not a member"), now),
            None
        );
        assert!(matches!(
            refused.try_recv().unwrap(),
            Err(ClientError::Refused { code: 10_011, .. })
        ));
        let wait = pb::Output {
            retry_after_ms: 500,
            ..output(2, 8, "too many requests")
        };
        sends.answered(&wait, now);
        assert!(limited.try_recv().is_err());
        assert!(sends.write_next(4, now).is_none());
        let retry = sends.next_retry().unwrap() - now;
        assert!((500..=750).contains(&retry.as_millis()), "{retry:?}");
        let resp = pb::SendMessageResp {
            seq: 5,
            ..pb::SendMessageResp::default()
        };
        let done = pb::Output {
            data: resp.encode_to_vec().into(),
            ..output(3, 0, "")
        };
        assert_eq!(sends.answered(&done, now), Some(5));
        assert_eq!(sent.try_recv().unwrap().unwrap().seq, 5);
        assert!(!sends.are_flying());
    }

    #[test]
    fn a_draft_that_cannot_be_sent_says_what_would_be_right() {
        let text = |draft: MessageDraft| draft.encode().unwrap_err().to_string();
        let hi = || MessageContent::text("hi");
        assert!(text(MessageDraft::new(MessageTarget::Room(1), hi())).contains("push_room"));
        assert!(text(MessageDraft::new(MessageTarget::User(0), hi())).contains("start at 1"));
        let long = MessageContent::text("x".repeat(70_000));
        assert!(text(MessageDraft::new(MessageTarget::User(1), long)).contains("65511"));
        let mut draft = MessageDraft::new(MessageTarget::User(1), hi());
        draft.id = Some("x".repeat(65));
        assert!(text(draft).contains("1 to 64"));
    }
}
