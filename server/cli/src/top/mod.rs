//! `gimlet top`: the state of running nodes, every second.
//!
//! `monitor` reads the ops listeners of the nodes, `exposition` parses their metrics, and `growth`
//! compares two readings. `reading` keeps the last readings of a node and makes its figures, which
//! are printed as JSON, or as the tables of `view` on a `screen`.

mod exposition;
mod growth;
mod monitor;
mod reading;
mod screen;
mod view;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::client::http_client;
use crate::error::{CommandError, EXIT_UNREACHABLE};
use crate::output::CommandOutput;
use crate::target::parsed;
use monitor::{NodeMonitor, NodeSummary, OpsAddress, READING_TIMEOUT};
use screen::TerminalScreen;

/// Time between two readings of a node.
const READING_INTERVAL: Duration = Duration::from_secs(1);
/// Example of an address, for errors.
const EXAMPLE: &str = "http://127.0.0.1:8086";

/// `gimlet top`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TopArgs {
    /// Addresses of the nodes' ops listeners, for example `http://127.0.0.1:8086` [default:
    /// `listen.ops` of the configuration].
    #[arg(value_name = "URL")]
    nodes: Vec<String>,
    /// File with the certificate of an authority to trust besides the public ones (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Configuration file (TOML) of the server.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Reads the nodes once, over a second, prints their state and ends. Exit code 3 if a node does not
    /// answer.
    #[arg(long)]
    once: bool,
    /// Prints one line of JSON every second, for scripts.
    #[arg(long)]
    json: bool,
}

impl TopArgs {
    /// Returns the configuration file, if one is named.
    #[must_use]
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Returns whether the output is JSON.
    #[must_use]
    pub const fn json(&self) -> bool {
        self.json
    }
}

/// Runs `gimlet top` until it is left. `configured` is the address of the configuration's ops listener,
/// or the reason that the configuration cannot be read; it is needed only without other addresses.
/// Returns the output of a single sample; `None` if everything is printed.
///
/// # Errors
/// The command line is wrong, or there is no terminal to draw on.
pub async fn run_top(
    args: TopArgs,
    configured: Result<Option<String>, String>,
) -> Result<Option<CommandOutput>, CommandError> {
    let addresses = addresses(&args.nodes, configured)?;
    let http = http_client(args.ca, READING_TIMEOUT)?;
    let monitor = NodeMonitor::new(http, addresses);
    if args.once {
        return Ok(Some(sample(monitor).await));
    }
    // If the terminal, or the program that reads the lines, has gone, the command ends without an error.
    let _ = if args.json {
        watch(monitor, print_line).await
    } else {
        let screen = TerminalScreen::open().ok_or_else(no_terminal)?;
        draw(monitor, screen).await
    };
    Ok(None)
}

fn no_terminal() -> CommandError {
    CommandError::Usage(
        "standard input and output are not a terminal to draw on: use --json for a line every second, \
         or --once for one sample"
            .into(),
    )
}

fn addresses(
    given: &[String],
    configured: Result<Option<String>, String>,
) -> Result<Vec<OpsAddress>, CommandError> {
    let configured = match (given, configured) {
        ([], Ok(Some(url))) => Some(url),
        ([], Ok(None)) => {
            return Err(CommandError::Usage(format!(
                "the configuration has no fixed address in listen.ops: name the ops listener, for \
                 example gimlet top {EXAMPLE}"
            )));
        }
        ([], Err(error)) => return Err(CommandError::Usage(error)),
        _ => None,
    };
    let all = given.iter().chain(&configured);
    all.map(|url| OpsAddress::new(parsed(url, EXAMPLE)?))
        .collect()
}

/// Reads the nodes twice, because a rate needs two readings.
async fn sample(mut monitor: NodeMonitor) -> CommandOutput {
    monitor.read_all().await;
    sleep(READING_INTERVAL).await;
    monitor.read_all().await;
    let nodes = monitor.summaries();
    let output = CommandOutput::new(view::text(&nodes), json_of(&nodes));
    if nodes.iter().all(|node| node.answers) {
        output
    } else {
        output.with_code(EXIT_UNREACHABLE)
    }
}

/// Shows the nodes' state every second until `show` fails.
async fn watch(
    mut monitor: NodeMonitor,
    mut show: impl FnMut(&[NodeSummary]) -> io::Result<()> + Send,
) -> io::Result<()> {
    let mut ticks = interval(READING_INTERVAL);
    // After a pause of this process, the ticks that were missed would read the nodes at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        monitor.begin();
        // Readings that end before the next tick are shown at it. Slower ones go on, so a node that
        // hangs does not hold up the others.
        loop {
            tokio::select! {
                _ = ticks.tick() => break,
                true = monitor.end_one() => {}
            }
        }
        show(&monitor.summaries())?;
    }
}

fn print_line(nodes: &[NodeSummary]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json_of(nodes)).and_then(|()| out.flush())
}

/// Draws the nodes' state until the user leaves.
async fn draw(monitor: NodeMonitor, mut screen: TerminalScreen) -> io::Result<()> {
    TerminalScreen::draw("reading the nodes; q leaves")?;
    tokio::select! {
        () = screen.closed() => Ok(()),
        drawn = watch(monitor, |nodes| TerminalScreen::draw(&view::text(nodes))) => drawn,
    }
}

fn json_of(nodes: &[NodeSummary]) -> Value {
    let nodes: Vec<_> = nodes.iter().map(NodeSummary::json).collect();
    json!({"nodes": nodes})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(nodes: &[&str], configured: Result<Option<&str>, &str>) -> Result<usize, String> {
        let nodes: Vec<_> = nodes.iter().map(|it| (*it).to_owned()).collect();
        let configured = configured.map(|it| it.map(ToOwned::to_owned));
        let found = addresses(&nodes, configured.map_err(ToOwned::to_owned));
        found.map(|it| it.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_configuration_matters_only_without_addresses() {
        let two = ["http://a:8086", "https://b/ops"];
        assert_eq!(given(&two, Err("broken")), Ok(2));
        assert_eq!(given(&[], Ok(Some("http://127.0.0.1:8086"))), Ok(1));
        assert_eq!(given(&[], Err("broken")), Err("broken".into()));
        let none = given(&[], Ok(None)).unwrap_err();
        assert!(none.contains("name the ops listener"), "{none}");
        for wrong in ["127.0.0.1:8086", "ftp://a", "http://a:b@c", "http://a/?q"] {
            let error = given(&[wrong], Ok(None)).unwrap_err();
            assert!(
                error.contains("write one such as http://127.0.0.1:8086"),
                "{error}"
            );
        }
    }
}
