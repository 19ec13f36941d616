//! The parts that tell who a user is with the backend's help: JWTs, and a business server over HTTP.

use std::sync::Arc;

use gimlet_core::auth::{JwtAuthority, JwtBusiness, JwtPolicy};
use gimlet_core::business::BusinessBackend;
use gimlet_core::store::StoreSet;
use gimlet_core::time::TimeSource;
use gimlet_identity::outbound::OutboundClient;
use gimlet_identity::{HttpBusiness, HttpBusinessConfig};

use crate::config::Config;
use crate::start_error::StartError;

/// The parts that tell who a user is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdentityParts {
    jwts: Option<JwtAuthority>,
    http_business: Option<Arc<HttpBusiness>>,
}

impl IdentityParts {
    /// Makes the parts that the configuration names. JWTs need the stores of a logic or business
    /// role: a connect role alone asks its logic nodes.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(crate) fn new(
        config: &Config,
        stores: Option<&StoreSet>,
        clock: &Arc<dyn TimeSource>,
    ) -> Result<Self, StartError> {
        let outbound = OutboundClient::new(&config.outbound_policy())?;
        let verifier = config.jwt_verifier(&outbound).map_err(StartError::Role)?;
        let jwts = verifier.zip(stores).map(|(verifier, stores)| {
            let auth = &config.auth;
            let policy = JwtPolicy {
                // The check of the configuration refuses keys without an audience.
                audience: auth.jwt_audience.clone().unwrap_or_default(),
                leeway: auth.jwt_leeway,
                max_lifetime: auth.jwt_max_lifetime,
                every_user: auth.jwt_every_user,
            };
            JwtAuthority::new(Arc::new(verifier), stores, Arc::clone(clock), policy)
        });
        let http = config.http_business().map_err(StartError::Role)?;
        let http_business = http.map(|(url, signer)| {
            let config = HttpBusinessConfig { url, signer };
            Arc::new(HttpBusiness::new(&outbound, config, Arc::clone(clock)))
        });
        Ok(Self {
            jwts,
            http_business,
        })
    }

    /// Returns the authority over JWTs, if they are accepted.
    pub(crate) const fn jwts(&self) -> Option<&JwtAuthority> {
        self.jwts.as_ref()
    }

    /// Returns the business server over HTTP, if there is one.
    pub(crate) const fn http_business(&self) -> Option<&Arc<HttpBusiness>> {
        self.http_business.as_ref()
    }

    /// Puts JWTs in front of a business role.
    pub(crate) fn in_front_of(
        &self,
        business: Arc<dyn BusinessBackend>,
    ) -> Arc<dyn BusinessBackend> {
        match &self.jwts {
            Some(jwts) => Arc::new(JwtBusiness::new(jwts.clone(), business)),
            None => business,
        }
    }
}
