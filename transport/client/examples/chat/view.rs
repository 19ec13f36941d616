//! Lines on the terminal. Lines of people read `name: text`; lines of the program start with `*`.

use std::io::{Write as _, stdin, stdout};

use gimlet_client::{Content, Inbound, Receiver, Sender};
use tokio::sync::mpsc;

/// What can be typed.
pub(crate) const HELP: &str = "\
* type a line to send it, or:
*   /add PHONE|ID   ask somebody to be a friend    /agree ID         accept a request
*   /friends        list your friends              /to NAME|ID|g:ID  talk to a friend or group
*   /group NAME IDS create a group: /group team 2,3    /groups       list your groups
*   /room ID        follow a room                  /say TEXT         write to the room
*   /offline        disconnect                     /online           come back
*   /signout        forget this account here       /quit             leave";

/// Writes a line. A terminal that is gone is no reason to fail: input ends soon, too.
pub(crate) fn say(line: &str) {
    drop(writeln!(stdout().lock(), "{line}"));
}

/// Reads lines in a thread of their own: reading a terminal cannot be interrupted.
pub(crate) fn lines() -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if tx.blocking_send(line).is_err() {
                break;
            }
        }
    });
    rx
}

/// Others' text without what could steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A person's name, or the id where there is none.
pub(crate) fn person(nickname: &str, id: i64) -> String {
    if nickname.trim().is_empty() {
        format!("user {id}")
    } else {
        clean(nickname)
    }
}

/// Who sent it.
pub(crate) fn sender(message: &Inbound) -> String {
    match &message.sender {
        _ if message.own => "me".to_owned(),
        Sender::User { id, nickname, .. } => person(nickname, *id),
        Sender::Business => "service".to_owned(),
        _ => "system".to_owned(),
    }
}

/// A message in one line. `place` names the receiver, where it matters.
pub(crate) fn message(message: &Inbound, place: &str) -> String {
    let from = sender(message);
    let text = content(&message.content);
    match message.receiver {
        Receiver::User(_) if message.own => format!("me -> {place}: {text}"),
        Receiver::User(_) => format!("{from}: {text}"),
        _ => format!("[{place}] {from}: {text}"),
    }
}

fn content(content: &Content) -> String {
    match content {
        Content::Text(text) | Content::Custom(text) => clean(text),
        Content::Image(image) => format!("(picture {})", clean(&image.url)),
        Content::File(file) => format!("(file {} {})", clean(&file.name), clean(&file.url)),
        Content::Voice(voice) => format!("(voice {})", clean(&voice.url)),
        Content::Face(face) => format!("(face {})", clean(&face.face_url)),
        Content::Location(place) => format!("(place {})", clean(&place.desc)),
        Content::Command(command) => format!("(command {})", command.code),
        _ => "(something this chat does not know)".to_owned(),
    }
}
