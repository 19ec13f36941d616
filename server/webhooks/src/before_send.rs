//! The question `message.before_send`, as JSON.

use async_trait::async_trait;
use gimlet_core::before_send::{
    BeforeSendHook, HookCallError, ReplacedContent, SendQuestion, SendVerdict,
};
use gimlet_core::id::MessageId;
use gimlet_core::message::{Message, UnknownFields, UserProfile};
use gimlet_json::{
    JsonContent, JsonType as _, MessageInfo, RequestFields, choice, message_id, object, parse,
    rfc3339,
};
use serde_json::{Value, json};

use crate::answer::describe;
use crate::body::SignedBody;
use crate::client::{SignedClient, failure_text};

/// Name of the question.
const QUESTION_NAME: &str = "message.before_send";

choice! {
    /// Decision about a message.
    VerdictAction {
        /// It is sent as it is.
        Allow = "allow",
        /// It is not sent.
        Refuse = "refuse",
        /// It is sent with other content.
        Replace = "replace",
    }
    expected "\"allow\", \"refuse\" or \"replace\""
}

object! {
    /// The answer to the question.
    VerdictAnswer {
        /// The decision.
        action: VerdictAction,
        /// The reason of a refusal, which the sender gets.
        reason: Option<String>,
        /// The new content.
        content: Option<JsonContent>,
    }
}

/// Asks the program of a webhook about messages.
#[derive(Clone, Debug)]
pub struct HttpBeforeSendHook {
    client: SignedClient,
}

impl HttpBeforeSendHook {
    pub(crate) const fn new(client: SignedClient) -> Self {
        Self { client }
    }

    /// Writes the question. The message has no id yet, because it is not accepted yet.
    fn question(&self, question: SendQuestion<'_>) -> SignedBody {
        let at = self.client.clock.now();
        let id = message_id(MessageId::generate());
        let message = Message {
            id: MessageId::generate(),
            sender: question.sender,
            receiver: question.receiver,
            mentions: question.mentions.to_vec(),
            kind: question.kind,
            content: question.content.clone(),
            sent_at: at,
            unknown: UnknownFields::NONE,
        };
        let info = MessageInfo::with_profile(&message, &UserProfile::default());
        let mut message = info.write().unwrap_or(Value::Null);
        if let Some(fields) = message.as_object_mut() {
            for unknown_yet in ["id", "sent_at", "sent_at_ms"] {
                fields.remove(unknown_yet);
            }
        }
        let text = json!({
            "id": &id,
            "type": QUESTION_NAME,
            "time": rfc3339(at),
            "data": {"message": message},
        });
        SignedBody {
            id,
            text: text.to_string().into(),
        }
    }
}

#[async_trait]
impl BeforeSendHook for HttpBeforeSendHook {
    async fn ask(&self, question: SendQuestion<'_>) -> Result<SendVerdict, HookCallError> {
        let body = self.question(question);
        let answer = self.client.post(body).await;
        let answer = answer.map_err(|error| HookCallError(failure_text(&error)))?;
        if !answer.status.is_success() {
            return Err(HookCallError(describe(&answer)));
        }
        verdict(&answer.body)
    }
}

/// Reads an answer; an empty one allows the message.
fn verdict(body: &[u8]) -> Result<SendVerdict, HookCallError> {
    if body.is_empty() {
        return Ok(SendVerdict::Allow);
    }
    let wrong = |text: String| HookCallError(format!("the answer is not a verdict: {text}"));
    let value = parse(body).map_err(|error| wrong(error.to_string()))?;
    let fields = RequestFields::of_body(value);
    let read = fields.and_then(RequestFields::read::<VerdictAnswer>);
    let answer = read.map_err(|error| wrong(error.describe("the body").1))?;
    match answer.action {
        VerdictAction::Allow => Ok(SendVerdict::Allow),
        VerdictAction::Refuse => Ok(SendVerdict::Refuse(answer.reason.unwrap_or_default())),
        VerdictAction::Replace => {
            let content = answer.content;
            let content = content.ok_or_else(|| wrong("content is missing".into()))?;
            let encoded = content.encode();
            let (kind, content) = encoded.map_err(|error| wrong(error.describe("content").1))?;
            Ok(SendVerdict::Replace(ReplacedContent { kind, content }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<SendVerdict, String> {
        verdict(body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_three_answers_are_read() {
        assert_eq!(read(""), Ok(SendVerdict::Allow));
        assert_eq!(read(r#"{"action":"allow"}"#), Ok(SendVerdict::Allow));
        let refused = read(r#"{"action":"refuse","reason":"no links"}"#);
        assert_eq!(refused, Ok(SendVerdict::Refuse("no links".into())));
        let replaced = read(r#"{"action":"replace","content":{"type":"text","text":"***"}}"#);
        let Ok(SendVerdict::Replace(replaced)) = replaced else {
            panic!("{replaced:?}");
        };
        assert_eq!(replaced.kind, 1);
        assert!(!replaced.content.is_empty());
    }

    #[test]
    fn an_answer_that_is_no_verdict_is_an_error_that_says_why() {
        for (body, needle) in [
            ("ok", "not a verdict"),
            ("[]", "not a verdict"),
            ("{}", "action"),
            (r#"{"action":"maybe"}"#, "\"refuse\""),
            (r#"{"acton":"allow"}"#, "did you mean action?"),
            (r#"{"action":"replace"}"#, "content is missing"),
            (
                r#"{"action":"replace","content":{"type":"friend_requested"}}"#,
                "content",
            ),
            (r#"{"action":"allow","action":"refuse"}"#, "not a verdict"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(needle), "{body}: {error}");
        }
    }
}
