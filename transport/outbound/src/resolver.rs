//! Lookup of hosts, whose result passes the rules for addresses before anything connects to it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::address::AddressRules;

/// Lookups of the system at a time. A lookup holds a thread until the system gives up, whatever the
/// caller's deadline is.
const SYSTEM_LOOKUPS: usize = 32;

/// Finds the addresses of a host.
#[async_trait]
pub trait NameLookup: fmt::Debug + Send + Sync {
    /// Returns the addresses of a host.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The lookup of the operating system.
#[derive(Debug)]
pub struct SystemLookup {
    permits: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(SYSTEM_LOOKUPS)),
        }
    }
}

#[async_trait]
impl NameLookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let host = host.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the caller, who may give up earlier.
            let _permit = permit;
            let found = (host.as_str(), 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        });
        looked_up.await.map_err(io::Error::other)?
    }
}

/// Reasons that a host cannot be reached by its name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// All its addresses are refused; this is the first.
    #[error("{0} is not an address that requests may reach")]
    Refused(IpAddr),
    /// The lookup failed.
    #[error("{0}")]
    Failed(io::Error),
}

/// A lookup that returns permitted addresses only. The connect uses exactly these, so there is no
/// second lookup between check and use.
#[derive(Clone, Debug)]
pub(crate) struct CheckedResolver {
    pub(crate) lookup: Arc<dyn NameLookup>,
    pub(crate) rules: AddressRules,
    pub(crate) is_encrypted: bool,
}

impl CheckedResolver {
    async fn find(&self, host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = self.lookup.lookup(host).await;
        let found = found.map_err(ResolveError::Failed)?;
        let permitted = found.iter();
        let permitted = permitted.filter(|ip| self.rules.permits(**ip, self.is_encrypted));
        // Port 0 stands for the port of the URL.
        let permitted: Vec<_> = permitted.map(|ip| SocketAddr::new(*ip, 0)).collect();
        match found.first() {
            None => {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                Err(ResolveError::Failed(none))
            }
            Some(first) if permitted.is_empty() => Err(ResolveError::Refused(*first)),
            Some(_) => Ok(permitted),
        }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let permitted = resolver.find(name.as_str()).await?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
