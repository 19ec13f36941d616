//! `gimlet token`.

use http::Method;
use serde_json::json;

use crate::args::TokenCommand;
use crate::client::{ApiClient, ApiRequest};
use crate::error::CommandError;
use crate::output::CommandOutput;
use crate::table::details;

/// Runs a command of `gimlet token`.
pub(crate) async fn run(
    client: &ApiClient,
    command: TokenCommand,
) -> Result<CommandOutput, CommandError> {
    match command {
        TokenCommand::Issue { user, device } => {
            let user = user.user.to_string();
            let body = device.map_or_else(|| json!({}), |it| json!({"device_id": it.to_string()}));
            let issued = client.post(&["users", &user, "tokens"], body).await?;
            Ok(CommandOutput::new(
                details(&issued, &["device_id", "token"]),
                issued,
            ))
        }
        TokenCommand::Revoke { user, device } => {
            let (user, device) = (user.user.to_string(), device.to_string());
            let path = ["users", &user, "tokens", &device];
            let answer = client.call(ApiRequest::new(Method::DELETE, &path)).await?;
            let text = format!("revoked the token of user {user} on device {device}");
            Ok(CommandOutput::new(text, answer))
        }
    }
}
