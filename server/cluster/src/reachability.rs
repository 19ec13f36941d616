//! Probes of nodes: whether something accepts connections at their addresses.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time limit of a probe. A node whose machine is gone answers nothing at all.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns for each address whether it accepts connections now. All are probed at once, in one second at
/// most.
pub async fn reachable(addresses: Vec<String>) -> Vec<bool> {
    join_all(addresses.into_iter().map(accepts)).await
}

async fn accepts(address: String) -> bool {
    // An address may begin with http:// or https://.
    let authority = address.rsplit('/').next().unwrap_or_default();
    let connected = timeout(PROBE_TIMEOUT, TcpStream::connect(authority)).await;
    matches!(connected, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_is_reachable_while_something_listens_there() {
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let addresses = vec![
            format!("127.0.0.1:{}", port(&alive)),
            format!("http://127.0.0.1:{}", port(&dead)),
            "not an address".to_owned(),
        ];
        assert_eq!(reachable(addresses.clone()).await, [true, true, false]);
        drop(dead);
        assert_eq!(reachable(addresses).await, [true, false, false]);
        assert!(reachable(Vec::new()).await.is_empty());
    }
}
