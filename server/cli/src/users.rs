//! `gimlet user`.

use std::fmt::Write as _;

use http::Method;
use serde_json::{Map, Value, json};

use crate::args::{BanArgs, CreateUserArgs, DisconnectArgs, UserCommand};
use crate::client::{ApiClient, ApiRequest};
use crate::error::CommandError;
use crate::import;
use crate::output::CommandOutput;
use crate::table::{TextTable, cell, details};

/// Fields of a profile, in the order in which they are shown.
const PROFILE_FIELDS: [&str; 7] = [
    "user_id",
    "nickname",
    "sex",
    "avatar_url",
    "extra",
    "created_at",
    "updated_at",
];

/// Runs a command of `gimlet user`.
pub(crate) async fn run(
    client: &ApiClient,
    command: UserCommand,
) -> Result<CommandOutput, CommandError> {
    match command {
        UserCommand::Create(args) => create(client, args).await,
        UserCommand::Show(args) => show(client, &args.user.to_string()).await,
        UserCommand::Connections(args) => connections(client, &args.user.to_string()).await,
        UserCommand::Import(args) => import::run(client, &args).await,
        UserCommand::Ban(args) => ban(client, args).await,
        UserCommand::Unban(args) => {
            let user = args.user.to_string();
            let path = ["users", &user, "ban"];
            let answer = client.call(ApiRequest::new(Method::DELETE, &path)).await?;
            let text = format!("user {user} is not banned");
            Ok(CommandOutput::new(text, answer))
        }
        UserCommand::Disconnect(args) => disconnect(client, args).await,
    }
}

async fn create(client: &ApiClient, args: CreateUserArgs) -> Result<CommandOutput, CommandError> {
    let mut user = Map::new();
    user.insert("phone_number".into(), args.phone.into());
    let profile = [
        ("nickname", args.nickname),
        ("avatar_url", args.avatar_url),
        ("extra", args.extra),
    ];
    for (name, value) in profile {
        user.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    // Only an import sets the profile in the same step.
    let created = if user.len() == 1 {
        client.post(&["users"], Value::Object(user)).await?
    } else {
        let answer = client.post(&["users", "import"], json!({"users": [user]}));
        let answer = answer.await?;
        let first = answer.get("users").and_then(|users| users.get(0));
        first.cloned().unwrap_or_else(|| json!({}))
    };
    let id = cell(created.get("user_id"));
    let text = if created.get("is_new").and_then(Value::as_bool) == Some(true) {
        format!("created user {id}")
    } else {
        format!("user {id} has this phone number already")
    };
    Ok(CommandOutput::new(text, created))
}

async fn show(client: &ApiClient, user: &str) -> Result<CommandOutput, CommandError> {
    let mut profile = client.get(&["users", user]).await?;
    let ban = client.get(&["users", user, "ban"]).await?;
    let mut text = details(&profile, &PROFILE_FIELDS);
    if ban.get("is_banned").and_then(Value::as_bool) == Some(true) {
        let (at, reason) = (cell(ban.get("banned_at")), cell(ban.get("reason")));
        let _ = write!(text, "\nbanned since {at}: {reason}");
    }
    if let Some(fields) = profile.as_object_mut() {
        fields.insert("ban".into(), ban);
    }
    Ok(CommandOutput::new(text, profile))
}

async fn connections(client: &ApiClient, user: &str) -> Result<CommandOutput, CommandError> {
    let answer = client.get(&["users", user, "connections"]).await?;
    let mut table = TextTable::new(&["DEVICE", "NODE", "CLIENT"]);
    let found = answer.get("connections").and_then(Value::as_array);
    for connection in found.into_iter().flatten() {
        table.push(connection, &["device_id", "node", "client"]);
    }
    Ok(CommandOutput::new(table.text(), answer))
}

async fn ban(client: &ApiClient, args: BanArgs) -> Result<CommandOutput, CommandError> {
    let user = args.user.user.to_string();
    let path = ["users", &user, "ban"];
    let request = ApiRequest::new(Method::PUT, &path).body(json!({"reason": args.reason}));
    let answer = client.call(request).await?;
    Ok(CommandOutput::new(format!("banned user {user}"), answer))
}

async fn disconnect(
    client: &ApiClient,
    args: DisconnectArgs,
) -> Result<CommandOutput, CommandError> {
    let user = args.user.user.to_string();
    let mut body = json!({"reason": args.reason});
    if let (Some(device), Some(fields)) = (args.device, body.as_object_mut()) {
        fields.insert("device_id".into(), device.to_string().into());
    }
    let answer = client.post(&["users", &user, "disconnect"], body).await?;
    let text = format!("closed the connections of user {user}");
    Ok(CommandOutput::new(text, answer))
}
