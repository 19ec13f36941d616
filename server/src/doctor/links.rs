//! Other servers that this node calls: nodes, the business server, webhooks.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DoctorReport;
use crate::config::Config;

const TOPIC: &str = "links";
/// Time within which a server in the same network accepts a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);

pub(super) async fn examine(config: &Config, report: &mut DoctorReport) {
    let mut links = Vec::new();
    for address in &config.cluster.logic {
        links.push(("cluster.logic", address.as_str()));
    }
    for address in &config.cluster.business {
        links.push(("cluster.business", address.as_str()));
    }
    if let Some(url) = &config.business.url {
        links.push(("business.url", url));
    }
    for webhook in &config.webhooks {
        if let Some(url) = &webhook.url {
            links.push(("webhooks.url", url));
        }
    }
    for (key, link) in links {
        let shown = without_path(link);
        match reach(link).await {
            Ok(()) => report.fine(TOPIC, format!("{key} = {shown} accepts connections")),
            Err(error) => report.problem(
                TOPIC,
                format!(
                    "{key} = {shown} cannot be reached ({error}): start that server, correct the address, or open \
                     the firewall"
                ),
            ),
        }
    }
}

/// Returns scheme, host and port of a link; its path may contain a secret.
fn without_path(link: &str) -> &str {
    let host = link.find("://").map_or(0, |at| at + 3);
    let end = link.get(host..).and_then(|rest| rest.find(['/', '?']));
    end.and_then(|end| link.get(..host + end)).unwrap_or(link)
}

async fn reach(link: &str) -> io::Result<()> {
    let address = host_and_port(without_path(link));
    let connected = timeout(CONNECT_TIME, TcpStream::connect(&address)).await;
    let too_late = || {
        let text = format!("no answer within {} s", CONNECT_TIME.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    connected.map_err(|_| too_late())?.map(drop)
}

/// Returns the address to connect to: a URL without a port has that of its scheme.
fn host_and_port(link: &str) -> String {
    let (scheme, rest) = link.split_once("://").unwrap_or(("", link));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match scheme {
        _ if has_port => host.to_owned(),
        "https" => format!("{host}:443"),
        _ => format!("{host}:80"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_port_of_its_scheme_and_no_path() {
        for (link, address) in [
            ("https://hooks.example/secret", "hooks.example:443"),
            ("http://hooks.example?key=1", "hooks.example:80"),
            ("http://10.0.0.7:8000/x", "10.0.0.7:8000"),
            ("https://[::1]/x", "[::1]:443"),
            ("https://[::1]:7000", "[::1]:7000"),
            ("logic-1:50000", "logic-1:50000"),
        ] {
            assert_eq!(host_and_port(without_path(link)), address, "{link}");
        }
    }
}
