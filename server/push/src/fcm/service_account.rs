//! The file of a service account, as the Google Cloud console writes it.

use gimlet_outbound::OutboundUrl;
use serde_json::Value;

use crate::key::{PushKeyError, RsaSigningKey};

/// A service account.
#[derive(Debug)]
pub struct ServiceAccount {
    /// The project.
    pub(crate) project_id: String,
    /// Id of the key.
    pub(crate) key_id: String,
    /// The key.
    pub(crate) key: RsaSigningKey,
    /// Name of the account.
    pub(crate) email: String,
    /// Address that issues access tokens, as the file has it: the audience of the assertion.
    pub(crate) audience: String,
    /// The same address.
    pub(crate) token_url: OutboundUrl,
}

/// Reasons that a text is not the file of a service account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAccountError {
    /// The text is not the JSON of a service account.
    #[error(
        "it is not the file of a service account; in the Firebase console, open Project settings, \
         Service accounts, and generate a private key"
    )]
    Malformed,
    /// A field is missing.
    #[error("it has no {0}; use the file of the service account as it was downloaded")]
    Missing(&'static str),
    /// The project has characters of no project.
    #[error("its project_id is not the id of a project: use the file as it was downloaded")]
    Project,
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] PushKeyError),
    /// The address for access tokens cannot be used.
    #[error("its token_uri cannot be used: {0}")]
    TokenUrl(#[from] gimlet_outbound::OutboundUrlError),
}

impl ServiceAccount {
    /// Reads the file of a service account.
    ///
    /// # Errors
    /// The text is not such a file.
    pub fn parse(text: &[u8]) -> Result<Self, ServiceAccountError> {
        let file: Value =
            serde_json::from_slice(text).map_err(|_| ServiceAccountError::Malformed)?;
        if file.get("type").and_then(Value::as_str) != Some("service_account") {
            return Err(ServiceAccountError::Malformed);
        }
        let field = |name: &'static str| {
            let value = file.get(name).and_then(Value::as_str);
            let value = value.filter(|it| !it.is_empty());
            value.ok_or(ServiceAccountError::Missing(name))
        };
        let project_id = field("project_id")?;
        let is_id = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
        if !project_id.chars().all(is_id) {
            return Err(ServiceAccountError::Project);
        }
        let audience = field("token_uri")?;
        Ok(Self {
            project_id: project_id.to_owned(),
            key_id: field("private_key_id")?.to_owned(),
            key: RsaSigningKey::from_pem(field("private_key")?.as_bytes())?,
            email: field("client_email")?.to_owned(),
            audience: audience.to_owned(),
            token_url: audience.parse()?,
        })
    }
}
