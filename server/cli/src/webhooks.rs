//! `gimlet webhook`.

use http::Method;
use serde_json::{Value, json};

use crate::args::WebhookCommand;
use crate::client::{ApiClient, ApiRequest};
use crate::error::{CommandError, EXIT_REFUSED};
use crate::output::CommandOutput;
use crate::table::{TextTable, cell};

/// Largest page of dead letters that a server answers.
const DEAD_LETTERS_PAGE: usize = 500;

/// Runs a command of `gimlet webhook`.
pub(crate) async fn run(
    client: &ApiClient,
    command: WebhookCommand,
) -> Result<CommandOutput, CommandError> {
    match command {
        WebhookCommand::List => list(client).await,
        WebhookCommand::Test(hook) => test(client, &hook.name).await,
        WebhookCommand::Dead { hook, limit } => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            dead_letters(client, &hook.name, limit).await
        }
        WebhookCommand::Replay { hook, positions } => {
            change(client, &hook.name, "replay", &positions).await
        }
        // The command line has positions, or `--all`.
        WebhookCommand::Drop {
            hook, positions, ..
        } => change(client, &hook.name, "drop", &positions).await,
    }
}

fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    let items = answer.get(name).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

async fn list(client: &ApiClient) -> Result<CommandOutput, CommandError> {
    let answer = client.get(&["webhooks"]).await?;
    let mut table = TextTable::new(&[
        "NAME",
        "WAITING",
        "DEAD",
        "DELIVERED",
        "FAILED",
        "EVENTS",
        "URL",
        "LAST ERROR",
    ]);
    let fields = [
        "name",
        "waiting",
        "dead_letters",
        "delivered",
        "failed",
        "events",
        "url",
        "last_error",
    ];
    for hook in items(&answer, "webhooks") {
        table.push(hook, &fields);
    }
    Ok(CommandOutput::new(table.text(), answer))
}

async fn test(client: &ApiClient, name: &str) -> Result<CommandOutput, CommandError> {
    let path = ["webhooks", name, "test"];
    let answer = client.call(ApiRequest::new(Method::POST, &path)).await?;
    let took = cell(answer.get("took_ms"));
    if answer.get("delivered").and_then(Value::as_bool) == Some(true) {
        let text = format!("the program of {name} accepted the test after {took} ms");
        return Ok(CommandOutput::new(text, answer));
    }
    let reason = cell(answer.get("error"));
    let text = format!("the program of {name} did not accept the test: {reason}");
    Ok(CommandOutput::new(text, answer).with_code(EXIT_REFUSED))
}

async fn dead_letters(
    client: &ApiClient,
    name: &str,
    limit: usize,
) -> Result<CommandOutput, CommandError> {
    let path = ["webhooks", name, "dead-letters"];
    let (mut letters, mut more) = (Vec::new(), true);
    while more && letters.len() < limit {
        let page = (limit - letters.len()).min(DEAD_LETTERS_PAGE);
        let mut request = ApiRequest::new(Method::GET, &path).query("limit", &page);
        if let Some(last) = letters.last() {
            request = request.query("after", &position(last));
        }
        let answer = client.call(request).await?;
        let found = items(&answer, "dead_letters");
        more = answer.get("more").and_then(Value::as_bool) == Some(true) && !found.is_empty();
        letters.extend_from_slice(found);
    }
    let mut table = TextTable::new(&["POSITION", "EVENT", "GIVEN UP AT", "ATTEMPTS", "ERROR"]);
    let fields = ["position", "event", "given_up_at", "attempts", "error"];
    for letter in &letters {
        table.push(letter, &fields);
    }
    let mut text = table.text();
    if more {
        text.push_str("\nThere are more: give a larger --limit.");
    }
    let json = json!({"dead_letters": letters, "more": more});
    Ok(CommandOutput::new(text, json))
}

fn position(letter: &Value) -> String {
    let position = letter.get("position").and_then(Value::as_str);
    position.unwrap_or_default().to_owned()
}

/// Replays or drops dead letters; without positions all of them.
async fn change(
    client: &ApiClient,
    name: &str,
    action: &str,
    positions: &[u64],
) -> Result<CommandOutput, CommandError> {
    let body = if positions.is_empty() {
        json!({})
    } else {
        let positions: Vec<_> = positions.iter().map(ToString::to_string).collect();
        json!({"positions": positions})
    };
    let path = ["webhooks", name, "dead-letters", action];
    let answer = client.post(&path, body).await?;
    let count = cell(answer.get("count"));
    let done = match action {
        "drop" => "removed",
        _ => "waiting for delivery again",
    };
    Ok(CommandOutput::new(
        format!("{count} dead letters of {name}: {done}"),
        answer,
    ))
}
