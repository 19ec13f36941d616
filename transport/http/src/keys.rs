//! API keys: created, listed, revoked and replaced over the API.

use std::time::Duration;

use gimlet_core::auth::{ApiKeyService, CreatedApiKey, NewApiKey};
use gimlet_core::id::ApiKeyId;
use gimlet_core::scope::ApiScope;
use gimlet_core::store::ApiKey;
use http::Method;

use crate::call::ApiCall;
use crate::json::object;
use crate::lists::page_items;
use crate::message::rfc3339;
use crate::operation::{ApiOperation, NoContent, OperationAccess};
use crate::problem::ApiProblem;

/// Seconds for which a replaced key stays valid unless the request says otherwise: a day.
const OVERLAP_SECONDS: u32 = 24 * 60 * 60;

object! {
    /// A key to create.
    CreateKey {
        /// A name for people, for example that of the program that uses the key.
        name: String,
        /// The rights of the key; at least one, and none that the calling key does not have.
        scopes: Vec<ApiScope>,
        /// The seconds after which the key expires, up to ten years; by default it does not expire.
        lifetime_seconds: Option<u32>,
    }
}

object! {
    /// A created key.
    CreatedKey {
        /// The key itself, for the header `Authorization: Bearer`. It is shown only here.
        key: String,
        /// The id, by which the key is listed and revoked.
        key_id: ApiKeyId,
        /// The name.
        name: String,
        /// The rights.
        scopes: Vec<ApiScope>,
        /// The time of creation (RFC 3339, UTC).
        created_at: String,
        /// The time at which the key expires, if it does (RFC 3339, UTC).
        expires_at: Option<String>,
    }
}

object! {
    /// A key; the key itself is not shown.
    KeyInfo {
        /// The id.
        key_id: ApiKeyId,
        /// The name.
        name: String,
        /// The rights.
        scopes: Vec<ApiScope>,
        /// True if the key has neither expired nor been revoked.
        is_valid: bool,
        /// The time of creation (RFC 3339, UTC).
        created_at: String,
        /// The time at which the key expires, if it does (RFC 3339, UTC).
        expires_at: Option<String>,
        /// The time from which on the key is revoked; in the future for a key that is being replaced
        /// (RFC 3339, UTC).
        revoked_at: Option<String>,
        /// The time of the last use, a minute late at most (RFC 3339, UTC).
        last_used_at: Option<String>,
    }
}

object! {
    /// A page of the keys.
    ListKeys {
        /// The key after which the page starts; by default it is the first page.
        after: Option<ApiKeyId>,
        /// The number of keys, up to 500; by default 50.
        limit: Option<u32>,
    }
}

object! {
    /// Keys, ascending by id.
    KeyList {
        /// The keys.
        keys: Vec<KeyInfo>,
        /// True if the list goes on after the last of them.
        more: bool,
    }
}

object! {
    /// The key that is meant.
    NamedKey {
        /// The key's id.
        key_id: ApiKeyId,
    }
}

object! {
    /// A key to replace.
    RotateKey {
        /// The key's id.
        key_id: ApiKeyId,
        /// The seconds for which the old key stays valid, up to 90 days; by default a day.
        overlap_seconds: Option<u32>,
    }
}

impl CreatedKey {
    fn of(CreatedApiKey { key, secret }: CreatedApiKey) -> Self {
        Self {
            key: secret,
            key_id: key.id,
            name: key.name,
            scopes: key.scopes.iter().collect(),
            created_at: rfc3339(key.created_at),
            expires_at: key.expires_at.map(rfc3339),
        }
    }
}

impl KeyInfo {
    fn of(keys: &ApiKeyService, key: ApiKey) -> Self {
        Self {
            is_valid: keys.is_valid(&key),
            key_id: key.id,
            name: key.name,
            scopes: key.scopes.iter().collect(),
            created_at: rfc3339(key.created_at),
            expires_at: key.expires_at.map(rfc3339),
            revoked_at: key.revoked_at.map(rfc3339),
            last_used_at: key.used_at.map(rfc3339),
        }
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

async fn create(call: ApiCall, input: CreateKey) -> Result<CreatedKey, ApiProblem> {
    let new = NewApiKey {
        name: input.name,
        scopes: input.scopes.into_iter().collect(),
        lifetime: input.lifetime_seconds.map(seconds),
    };
    let created = call.keys()?.create(call.backend()?, new).await?;
    Ok(CreatedKey::of(created))
}

async fn list(call: ApiCall, input: ListKeys) -> Result<KeyList, ApiProblem> {
    let (keys, limit) = (call.keys()?, page_items(input.limit)?);
    let page = keys.list(input.after, limit).await?;
    let listed = page.items.into_iter().map(|key| KeyInfo::of(keys, key));
    Ok(KeyList {
        keys: listed.collect(),
        more: page.more,
    })
}

async fn get(call: ApiCall, input: NamedKey) -> Result<KeyInfo, ApiProblem> {
    let keys = call.keys()?;
    Ok(KeyInfo::of(keys, keys.get(input.key_id).await?))
}

async fn revoke(call: ApiCall, input: NamedKey) -> Result<NoContent, ApiProblem> {
    call.keys()?.revoke(call.backend()?, input.key_id).await?;
    Ok(NoContent)
}

async fn rotate(call: ApiCall, input: RotateKey) -> Result<CreatedKey, ApiProblem> {
    let overlap = seconds(input.overlap_seconds.unwrap_or(OVERLAP_SECONDS));
    let (keys, by) = (call.keys()?, call.backend()?);
    let created = keys.rotate(by, input.key_id, overlap).await?;
    Ok(CreatedKey::of(created))
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    let access = OperationAccess::Backend(ApiScope::Admin);
    vec![
        ApiOperation::new(
            Method::POST,
            "/keys",
            access,
            "createKey",
            "Creates an API key for a backend. The answer shows the key; the server keeps its hash only.",
            create,
        ),
        ApiOperation::new(
            Method::GET,
            "/keys",
            access,
            "listKeys",
            "Lists the API keys that were created, those included that ended in the last 90 days.",
            list,
        ),
        ApiOperation::new(
            Method::GET,
            "/keys/{key_id}",
            access,
            "getKey",
            "Returns an API key, without the key itself.",
            get,
        ),
        ApiOperation::new(
            Method::DELETE,
            "/keys/{key_id}",
            access,
            "revokeKey",
            "Revokes an API key: at once on the node that answers, and within ten seconds on all nodes.",
            revoke,
        ),
        ApiOperation::new(
            Method::POST,
            "/keys/{key_id}/rotate",
            access,
            "rotateKey",
            "Creates a key with the name, the scopes and the lifetime of another one, which ends after \
             an overlap.",
            rotate,
        ),
    ]
}
