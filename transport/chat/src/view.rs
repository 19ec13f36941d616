//! Formats what the chat prints. Lines of people read `name: text`; lines of the program begin with
//! `*`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gimlet_client::{ApiError, MessageContent, MessageSender, MessageTarget, ReceivedMessage};

use crate::address_book::AddressBook;
use crate::args::Args;
use crate::clean::clean;

/// Age below which a message is shown without its age.
const RECENT_AGE: Duration = Duration::from_mins(1);

/// Formats a message as one line. Missed messages are shown with their age.
pub(crate) fn message(
    message: &ReceivedMessage,
    names: &AddressBook,
    age: Option<Duration>,
) -> String {
    let text = content(&message.content);
    let from = match &message.sender {
        _ if message.own => "you".to_owned(),
        MessageSender::User { id, .. } => names.person(*id),
        MessageSender::Business => "service".to_owned(),
        _ => "server".to_owned(),
    };
    let place = match message.receiver {
        MessageTarget::User(_) if !message.own => String::new(),
        to if message.own => format!(" to {}", names.receiver(to)),
        to => format!(" in {}", names.receiver(to)),
    };
    let age = age.map_or_else(String::new, |age| format!(" ({})", ago(age)));
    format!("{from}{place}{age}: {text}")
}

/// Returns the age of a message by this machine's clock; `None` if it is recent or unknown.
#[expect(
    clippy::disallowed_methods,
    reason = "shown to a person, and nothing is decided by it"
)]
pub(crate) fn age(message: &ReceivedMessage) -> Option<Duration> {
    let sent = u64::try_from(message.sent_at_ms)
        .ok()
        .filter(|ms| *ms > 0)?;
    let sent = UNIX_EPOCH + Duration::from_millis(sent);
    let age = SystemTime::now().duration_since(sent).ok()?;
    (age >= RECENT_AGE).then_some(age)
}

fn ago(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0..60 => format!("{minutes} min ago"),
        60..2_880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1_440),
    }
}

fn content(content: &MessageContent) -> String {
    match content {
        MessageContent::Text(text) | MessageContent::Custom(text) => clean(text),
        MessageContent::Image(image) => format!("(picture {})", clean(&image.url)),
        MessageContent::File(file) => format!("(file {} {})", clean(&file.name), clean(&file.url)),
        MessageContent::Voice(voice) => format!("(voice {})", clean(&voice.url)),
        MessageContent::Face(face) => format!("(sticker {})", clean(&face.face_url)),
        MessageContent::Location(place) => format!("(place {})", clean(&place.desc)),
        MessageContent::Command(command) => {
            format!("(command {} of another program)", command.code)
        }
        _ => "(a kind of content that this chat cannot show)".to_owned(),
    }
}

/// Explains a failed call and what to do about it.
pub(crate) fn explain(args: &Args, error: &ApiError) -> String {
    match error.code {
        14 | 4 if error.message.contains("certificate") => format!(
            "the certificate of {} is not accepted ({}): give the CA's certificate with --ca FILE",
            args.grpc,
            clean(&error.message)
        ),
        14 | 4 => format!(
            "the server does not answer at {}: start one with `gimlet`, or give its address with \
             --grpc",
            args.grpc
        ),
        10_010 => format!(
            "the server does not accept the code {}: give the right one with --code",
            args.code
        ),
        _ => clean(&error.message),
    }
}

/// Returns the reason that a connection ended, without the operating system's error number.
pub(crate) fn reason(reason: &str) -> String {
    let words = clean(reason);
    match words.split_once(" (os error") {
        Some((before, _)) => before.to_owned(),
        None => words,
    }
}

/// Joins names: `a`, `a and b`, `a, b and c`.
pub(crate) fn and(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_lists_read_as_people_say_them() {
        let ago = |minutes: u64| ago(Duration::from_secs(minutes * 60));
        assert_eq!(ago(1), "1 min ago");
        assert_eq!(ago(59), "59 min ago");
        assert_eq!(ago(150), "2 h ago");
        assert_eq!(ago(3 * 1_440), "3 days ago");
        let names = |all: &[&str]| and(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names(&["a"]), "a");
        assert_eq!(names(&["a", "b", "c"]), "a, b and c");
    }

    #[test]
    fn a_reason_has_no_error_number() {
        let text = "cannot connect to tcp://127.0.0.1:1: Connection refused (os error 111)";
        let short = "cannot connect to tcp://127.0.0.1:1: Connection refused";
        assert_eq!(reason(text), short);
    }
}
