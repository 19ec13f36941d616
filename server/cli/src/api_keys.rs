//! API keys through a running server.

use async_trait::async_trait;
use gimlet_core::id::ApiKeyId;
use http::Method;
use serde_json::{Map, Value, json};

use crate::args::CreateKeyArgs;
use crate::client::{ApiClient, ApiRequest};
use crate::error::CommandError;
use crate::keys::KeyOperations;

/// Keys of one page, as many as the API allows.
const KEYS_PAGE: usize = 500;

#[async_trait]
impl KeyOperations for ApiClient {
    async fn create(&self, key: &CreateKeyArgs) -> Result<Value, CommandError> {
        let mut body = Map::new();
        body.insert("name".into(), key.name.clone().into());
        body.insert("scopes".into(), key.scopes.clone().into());
        let lifetime = key.expires;
        body.extend(lifetime.map(|it| ("lifetime_seconds".to_owned(), it.into())));
        self.post(&["keys"], Value::Object(body)).await
    }

    async fn list(&self) -> Result<Vec<Value>, CommandError> {
        let (mut keys, mut more) = (Vec::new(), true);
        while more {
            let mut request = ApiRequest::new(Method::GET, &["keys"]).query("limit", &KEYS_PAGE);
            let last = keys
                .last()
                .and_then(|key: &Value| key.get("key_id")?.as_str());
            if let Some(last) = last {
                request = request.query("after", &last);
            }
            let answer = self.call(request).await?;
            let found = answer.get("keys").and_then(Value::as_array);
            let found = found.map_or(&[][..], Vec::as_slice);
            more = answer.get("more").and_then(Value::as_bool) == Some(true) && !found.is_empty();
            keys.extend_from_slice(found);
        }
        Ok(keys)
    }

    async fn revoke(&self, id: ApiKeyId) -> Result<Value, CommandError> {
        let id = id.to_string();
        let path = ["keys", &id];
        self.call(ApiRequest::new(Method::DELETE, &path)).await
    }

    async fn rotate(
        &self,
        id: ApiKeyId,
        overlap_seconds: Option<u32>,
    ) -> Result<Value, CommandError> {
        let body = overlap_seconds.map_or_else(|| json!({}), |it| json!({"overlap_seconds": it}));
        self.post(&["keys", &id.to_string(), "rotate"], body).await
    }
}
