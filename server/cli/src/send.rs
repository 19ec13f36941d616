//! `gimlet send`.

use std::io::Read as _;

use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::args::SendArgs;
use crate::client::{ApiClient, ApiRequest};
use crate::error::CommandError;
use crate::output::CommandOutput;
use crate::table::cell;

/// Largest text, in bytes: that of a request's body.
const TEXT_MAX_BYTES: u64 = 256 << 10;
/// Header with the user that a backend acts for.
const USER_HEADER: HeaderName = HeaderName::from_static("gimlet-user");
/// Header with the id of a send.
const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Runs `gimlet send`.
pub(crate) async fn run(
    client: &ApiClient,
    mut args: SendArgs,
) -> Result<CommandOutput, CommandError> {
    if args.text == "-" {
        args.text = standard_input()?;
    }
    match args.room {
        Some(room) => publish(client, &args, room).await,
        None => send(client, &args).await,
    }
}

fn standard_input() -> Result<String, CommandError> {
    let usage = |text: String| CommandError::Usage(format!("the text on standard input {text}"));
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock().take(TEXT_MAX_BYTES + 1);
    let read = input.read_to_end(&mut bytes);
    read.map_err(|error| usage(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > TEXT_MAX_BYTES {
        let limit = format!("is longer than {TEXT_MAX_BYTES} bytes: send it in parts");
        return Err(usage(limit));
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| usage("is not UTF-8: convert it, for example by iconv".into()))?;
    // The newline that `echo` adds is not a part of the message.
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn texts(ids: &[u64]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn content(args: &SendArgs) -> Value {
    json!({"type": "text", "text": args.text})
}

/// Makes the request as the sender of the arguments.
fn as_sender<'a>(request: ApiRequest<'a>, args: &SendArgs) -> ApiRequest<'a> {
    match args.from {
        Some(user) => request.header(USER_HEADER, HeaderValue::from(user)),
        None => request,
    }
}

async fn publish(
    client: &ApiClient,
    args: &SendArgs,
    room: u64,
) -> Result<CommandOutput, CommandError> {
    let room = room.to_string();
    let body = json!({
        "content": content(args), "mentions": texts(&args.mentions), "keep": args.keep,
    });
    let path = ["rooms", &room, "messages"];
    let request = as_sender(ApiRequest::new(Method::POST, &path).body(body), args);
    let sent = client.call(request).await?;
    let text = format!("sent to room {room} with seq {}", cell(sent.get("seq")));
    Ok(CommandOutput::new(text, sent))
}

async fn send(client: &ApiClient, args: &SendArgs) -> Result<CommandOutput, CommandError> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => uuid::Uuid::now_v7().to_string(),
    };
    let key = HeaderValue::from_str(&id).map_err(|_| {
        CommandError::Usage(format!(
            "--id {id:?} is not of visible ASCII characters: write 1 to 64 of them, for example a UUID"
        ))
    })?;
    let mut body = json!({"content": content(args), "mentions": texts(&args.mentions)});
    let receiver = [("to_user", args.to), ("to_group", args.group)];
    if let Some(fields) = body.as_object_mut() {
        for (name, id) in receiver {
            fields.extend(id.map(|id| (name.to_owned(), id.to_string().into())));
        }
        if args.system {
            fields.insert("sender".into(), "system".into());
        }
    }
    let request = ApiRequest::new(Method::POST, &["messages"]).body(body);
    let request = as_sender(request.header(KEY_HEADER, key), args);
    let sent = client.call(request).await.map_err(|error| match error {
        // A repeat under the same id cannot send twice.
        CommandError::Unreachable(text) => {
            CommandError::Unreachable(format!("{text}; repeat the command with --id {id}"))
        }
        other => other,
    })?;
    let message = cell(sent.get("message_id"));
    let is_repeat = sent.get("repeated").and_then(Value::as_bool) == Some(true);
    let text = if is_repeat {
        format!("message {message} was sent before; nothing more was sent")
    } else {
        format!("sent message {message}")
    };
    Ok(CommandOutput::new(text, sent))
}
