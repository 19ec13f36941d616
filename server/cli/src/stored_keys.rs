//! API keys of a storage that is opened here. How else would one get the first key?

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::auth::{ApiKeyRefusal, ApiKeyService, BackendIdentity, CreatedApiKey, NewApiKey};
use gimlet_core::id::ApiKeyId;
use gimlet_core::scope::ApiScope;
use gimlet_core::store::ApiKey;
use gimlet_core::time::UnixTimestamp;
use gimlet_json::rfc3339;
use serde_json::{Map, Value, json};

use crate::args::CreateKeyArgs;
use crate::error::CommandError;
use crate::keys::KeyOperations;

/// Keys that are read at a time.
const KEYS_PAGE: usize = 500;
/// Time for which a replaced key stays valid: a day, as in the API.
const OVERLAP: Duration = Duration::from_hours(24);

/// Reasons that the keys of a storage cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStorageError {
    /// A running server has the storage open; the text says which.
    InUse(String),
    /// Another reason.
    Failed(String),
}

/// The storage of the configuration.
pub trait KeyStorage: Debug + Send + Sync {
    /// Returns a description of the place, for people.
    fn place(&self) -> String;

    /// Opens its API keys. A storage that does not exist yet is created if `create` is set.
    fn open(&self, create: bool) -> OpeningKeys;
}

/// Future that opens the keys of a storage.
pub type OpeningKeys = Pin<Box<dyn Future<Output = Result<OpenedKeys, KeyStorageError>> + Send>>;

/// API keys of a storage that was opened for one command.
pub struct OpenedKeys {
    /// The keys.
    pub service: ApiKeyService,
    /// Waits until the storage is closed; `service` is dropped before.
    pub closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Debug for OpenedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenedKeys({:?})", self.service)
    }
}

fn refused(refusal: &ApiKeyRefusal) -> CommandError {
    CommandError::Failed(refusal.to_string())
}

fn time(at: Option<UnixTimestamp>) -> Option<Value> {
    at.map(|at| rfc3339(at).into())
}

/// Returns the object of a key in the API.
fn key_json(key: &ApiKey) -> Map<String, Value> {
    let scopes: Vec<_> = key.scopes.iter().map(ApiScope::name).collect();
    let fields = [
        ("key_id", Some(key.id.to_string().into())),
        ("name", Some(key.name.clone().into())),
        ("scopes", Some(scopes.into())),
        ("created_at", time(Some(key.created_at))),
        ("expires_at", time(key.expires_at)),
    ];
    let present = fields.into_iter();
    present
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

fn created_json(created: CreatedApiKey) -> Value {
    let mut json = key_json(&created.key);
    json.insert("key".into(), created.secret.into());
    Value::Object(json)
}

/// Keys that are read and changed in the storage itself.
#[derive(Debug)]
pub(crate) struct StoredKeys(
    /// The service over the storage.
    pub(crate) ApiKeyService,
);

#[async_trait]
impl KeyOperations for StoredKeys {
    async fn create(&self, key: &CreateKeyArgs) -> Result<Value, CommandError> {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let new = NewApiKey {
            name: key.name.clone(),
            scopes: key
                .scopes
                .iter()
                .filter_map(|it| ApiScope::named(it))
                .collect(),
            lifetime: key.expires.map(seconds),
        };
        let created = self.0.create(BackendIdentity::Operator, new).await;
        created.map(created_json).map_err(|it| refused(&it))
    }

    async fn list(&self) -> Result<Vec<Value>, CommandError> {
        let (mut keys, mut after, mut more) = (Vec::new(), None, true);
        while more {
            let page = self.0.list(after, KEYS_PAGE).await;
            let page = page.map_err(|error| refused(&error.into()))?;
            after = page.items.last().map(|key| key.id);
            more = page.more && after.is_some();
            for key in &page.items {
                let mut json = key_json(key);
                json.insert("is_valid".into(), self.0.is_valid(key).into());
                let times = [
                    ("revoked_at", key.revoked_at),
                    ("last_used_at", key.used_at),
                ];
                for (name, at) in times {
                    json.extend(time(at).map(|at| (name.to_owned(), at)));
                }
                keys.push(Value::Object(json));
            }
        }
        Ok(keys)
    }

    async fn revoke(&self, id: ApiKeyId) -> Result<Value, CommandError> {
        let revoked = self.0.revoke(BackendIdentity::Operator, id).await;
        revoked.map(|()| json!({})).map_err(|it| refused(&it))
    }

    async fn rotate(
        &self,
        id: ApiKeyId,
        overlap_seconds: Option<u32>,
    ) -> Result<Value, CommandError> {
        let overlap = overlap_seconds.map(|it| Duration::from_secs(it.into()));
        let overlap = overlap.unwrap_or(OVERLAP);
        let created = self.0.rotate(BackendIdentity::Operator, id, overlap).await;
        created.map(created_json).map_err(|it| refused(&it))
    }
}
