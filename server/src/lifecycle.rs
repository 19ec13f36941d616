//! Running and stopping a server.
//!
//! A stop goes in this order: not ready → wait `stop.delay` → stop accepting → close clients'
//! connections → drain → stop the roles → stop the ops listener → close the storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gimlet_core::auth::SharedSecret;
use gimlet_core::time::SystemClock;
use gimlet_grpc::{CallerKind, ListenerServices, ServeError};
use gimlet_listen::StopTokens;
use gimlet_transport::SessionProtocol;
use gimlet_transport_tcp::TcpFrameListener;
use gimlet_web::health::HealthState;
use gimlet_web::metrics::ServerMetrics;
use gimlet_web::{HttpServer, api, chat_page, console_page, files, operator_api, ops, process};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{BuiltServer, disk_space};
use crate::config::ListenerName;
use crate::listeners::BoundListeners;
use crate::storage::StorageWatch;

/// The longest frame, because its length has two bytes.
const MAX_FRAME_BYTES: usize = 65_535;
/// Interval at which the metrics recorder is maintained.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Reasons a running server ended other than by a stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The storage failed: answered sends are stored, nothing more is accepted.
    #[error("the storage has failed: {0}; look at the disk, then start gimlet again")]
    Storage(String),
    /// A gRPC listener failed.
    #[error("a gRPC listener has failed")]
    Grpc(#[from] ServeError),
}

/// The running tasks, and the channel on which a fatal failure is reported.
struct RunningTasks {
    tasks: TaskTracker,
    ends: StopTokens,
    died: mpsc::Sender<RunError>,
}

/// Waits until something has failed that a server cannot work without.
async fn failure(watch: &StorageWatch, deaths: &mut mpsc::Receiver<RunError>) -> RunError {
    tokio::select! {
        reason = watch.failed() => RunError::Storage(reason),
        Some(error) = deaths.recv() => error,
    }
}

/// Serves on for `stop.delay`, while probes already see that it is shutting down. A failure ends
/// the delay, and is returned.
async fn serve_on(
    delay: Duration,
    watch: &StorageWatch,
    deaths: &mut mpsc::Receiver<RunError>,
) -> Result<(), RunError> {
    if delay.is_zero() {
        return Ok(());
    }
    tracing::info!(?delay, "not ready, still serving for stop.delay");
    match timeout(delay, failure(watch, deaths)).await {
        Ok(error) => Err(error),
        Err(_) => Ok(()),
    }
}

impl BuiltServer {
    /// Serves until `shutdown` is cancelled or something that it cannot work without fails, then
    /// stops in order, within the configured grace.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), RunError> {
        let (died, mut deaths) = mpsc::channel(1);
        let running = RunningTasks {
            tasks: TaskTracker::new(),
            ends: self.ends.clone(),
            died,
        };
        let watch = self.watch.clone();
        let ops_ends = StopTokens::default();
        let ops_tasks = TaskTracker::new();
        // The ops listener first, so that probes read the state from the beginning. gRPC before any
        // client: other nodes must reach the roles of this one, or nodes that start together would
        // wait for each other.
        self.start_ops(&ops_tasks, &ops_ends);
        self.start_grpc(&running);
        if let Some(keys) = self.http_api.api.keys.clone() {
            running.tasks.spawn(keys.follow(running.ends.stop.clone()));
        }
        #[cfg(all(unix, feature = "sled"))]
        if let Some(control) = self.control.take() {
            let (tasks, ends) = (running.tasks.clone(), running.ends.clone());
            running.tasks.spawn(control.serve(tasks, ends));
        }
        // Not spawned: dropping this future at the stop ends the supervision of the readiness, so
        // that it cannot overwrite `Draining`.
        let serving = async {
            // Clients are accepted only when the logic role can be reached: before that no sign-in
            // could succeed.
            self.roles.reached().await;
            self.start_clients(&running);
            self.follow().await;
        };
        let mut outcome = tokio::select! {
            // A requested stop comes first. A failure at the same moment is found below.
            biased;
            () = shutdown.cancelled() => Ok(()),
            error = failure(&watch, &mut deaths) => Err(error),
            () = serving => Ok(()),
        };
        // `Failed` before `Draining`: the state keeps the failure, and probes report it until the
        // end.
        if let Err(error) = &outcome {
            self.health.set(HealthState::Failed(error.to_string()));
        }
        self.health.set(HealthState::Draining);
        self.api.set_serving(false).await;
        if outcome.is_ok() {
            // Load balancers need time to notice that the node is not ready; until then clients
            // still come here. A failed server skips this: it cannot serve them.
            outcome = serve_on(self.config.stop.delay, &watch, &mut deaths).await;
            if let Err(error) = &outcome {
                self.health.set(HealthState::Failed(error.to_string()));
            }
        }
        self.drain(running, (ops_tasks, ops_ends)).await;
        // The drain stores the last sends and acks, so a storage that failed meanwhile makes the
        // stop a failure.
        let failed = tokio::select! {
            biased;
            reason = watch.failed() => Some(reason),
            () = std::future::ready(()) => None,
        };
        match failed {
            Some(reason) if outcome.is_ok() => Err(RunError::Storage(reason)),
            _ => outcome,
        }
    }

    async fn drain(self, running: RunningTasks, (ops_tasks, ops_ends): (TaskTracker, StopTokens)) {
        let until = Instant::now() + self.config.stop.grace;
        tracing::info!(connections = self.roles.connections(), "stopping");
        // The stop comes before `close_all`. A sign-in first registers its connection and then
        // checks the stop, so that each connection sees one of the two and its client is asked to
        // come back.
        running.ends.stop.cancel();
        self.roles.close_all(self.config.stop.come_back);
        // The order matters. Close the tracker, since the wait ends only for a closed one; wait
        // within the grace; force what is left; wait for that too, because each connection holds
        // the storage open.
        running.tasks.close();
        if timeout_at(until, running.tasks.wait()).await.is_err() {
            let left = running.tasks.len();
            tracing::info!(left, "stop.grace elapsed, closing the rest by force");
            running.ends.force_close.cancel();
            if timeout(FORCED_CLOSE_TIME, running.tasks.wait())
                .await
                .is_err()
            {
                let left = running.tasks.len();
                tracing::warn!(left, "tasks still running after the forced close");
            }
        }
        // The roles stop after the connections and calls, which are the source of new sends and
        // acks.
        if timeout_at(
            until.max(Instant::now() + MIN_FINISH_TIME),
            self.roles.stop(),
        )
        .await
        .is_err()
        {
            tracing::error!("the node did not stop in time");
        }
        // The ops listener goes last, so that probes see the node drain. Its tasks hold the storage
        // open too.
        ops_ends.stop.cancel();
        ops_tasks.close();
        if timeout(FORCED_CLOSE_TIME, ops_tasks.wait()).await.is_err() {
            ops_ends.force_close.cancel();
            ops_tasks.wait().await;
        }
        let watch = self.watch.clone();
        // These hold the storage open, so they are dropped before the wait for its end.
        drop((self, running));
        if timeout_at(until.max(Instant::now() + MIN_FINISH_TIME), watch.closed())
            .await
            .is_err()
        {
            tracing::warn!("the storage is still in use; what was answered is on disk");
        }
        tracing::info!("stopped");
    }

    fn start_clients(&mut self, running: &RunningTasks) {
        let BoundListeners { tcp, ws, http, .. } = &mut self.listeners;
        let (tcp, ws, http) = (tcp.take(), ws.take(), http.take());
        if let (Some(listener), Some(sessions)) = (tcp, &self.sessions) {
            running.tasks.spawn(gimlet_listen::accept(
                self.entrance(ListenerName::Tcp, listener, &self.listener_limits.clients),
                SessionProtocol::new(TcpFrameListener::new(MAX_FRAME_BYTES), Arc::clone(sessions)),
                running.tasks.clone(),
                running.ends.stop.clone(),
            ));
        }
        #[cfg(feature = "ws")]
        if let (Some(listener), Some(sessions)) = (ws, &self.sessions) {
            let frames = self.ws_frames();
            running.tasks.spawn(gimlet_listen::accept(
                self.entrance(ListenerName::Ws, listener, &self.listener_limits.clients),
                SessionProtocol::new(frames, Arc::clone(sessions)),
                running.tasks.clone(),
                running.ends.stop.clone(),
            ));
        }
        #[cfg(not(feature = "ws"))]
        drop(ws);
        if let Some(listener) = http {
            let router = api::router(self.http_api.clone());
            let router = match self.files.clone() {
                Some(files) => router.merge(files::router(files)),
                None => router,
            };
            let router = if self.config.serves_chat() {
                router.merge(chat_page::router())
            } else {
                router
            };
            let router = gimlet_web::direct_only(router, self.config.is_development());
            let server = HttpServer {
                router,
                clients: Some(Arc::clone(&self.listener_limits.clients)),
                web_sockets: self.web_sockets(),
                stream_buffer: self.config.limits.socket_buffer,
            };
            running.tasks.spawn(server.serve(
                self.entrance(ListenerName::Http, listener, &self.listener_limits.http),
                running.tasks.clone(),
                running.ends.clone(),
            ));
        }
    }

    /// Returns the frames of WebSockets, with the rules for their requests.
    #[cfg(feature = "ws")]
    fn ws_frames(&self) -> gimlet_transport_ws::WsFrameListener {
        gimlet_transport_ws::WsFrameListener::new(
            MAX_FRAME_BYTES,
            crate::app::origins(&self.config),
        )
        .development(self.config.is_development())
        .forwarding(self.config.forwarding())
    }

    /// Returns the WebSockets of the HTTP listener, if this process has the connect role.
    #[cfg(feature = "ws")]
    fn web_sockets(&self) -> Option<gimlet_web::WebSocketCheck> {
        let sessions = self.sessions.as_ref()?;
        Some(crate::web_socket::check(
            self.ws_frames(),
            Arc::clone(sessions),
        ))
    }

    /// Returns none: this build has no WebSockets.
    #[cfg(not(feature = "ws"))]
    #[expect(clippy::unused_self, reason = "as with WebSockets")]
    const fn web_sockets(&self) -> Option<gimlet_web::WebSocketCheck> {
        None
    }

    fn start_grpc(&mut self, running: &RunningTasks) {
        let clients = self.api.clients();
        for listener in std::mem::take(&mut self.listeners.grpc) {
            self.spawn_grpc(running, listener, clients.clone(), CallerKind::Clients);
        }
        if let Some(listener) = self.listeners.internal.take() {
            let secret = self.config.cluster.secret.as_ref();
            let secret = secret.map(|secret| SharedSecret::new(secret.reveal()));
            let backends = self.api.backends(secret);
            self.spawn_grpc(running, listener, backends, CallerKind::Internal);
        }
    }

    fn spawn_grpc(
        &self,
        running: &RunningTasks,
        listener: TcpListener,
        services: ListenerServices,
        callers: CallerKind,
    ) {
        let (api, ends, died) = (self.api.clone(), running.ends.clone(), running.died.clone());
        let tasks = running.tasks.clone();
        let entrance = match callers {
            CallerKind::Clients => {
                self.entrance(ListenerName::Grpc, listener, &self.listener_limits.grpc)
            }
            CallerKind::Internal => self.internal_entrance(listener),
        };
        running.tasks.spawn(async move {
            let served = api.serve(entrance, services, callers, &tasks, ends);
            // An orderly end returns `Ok`: only a failed listener ends the server.
            if let Err(error) = served.await {
                // The channel has room for one failure, which is enough to end the server.
                let _ = died.try_send(error.into());
            }
        });
    }

    fn start_ops(&mut self, tasks: &TaskTracker, ends: &StopTokens) {
        let (metrics, ended) = (self.metrics.clone(), ends.stop.clone());
        tasks.spawn(async move {
            while tokio::time::timeout(METRICS_UPKEEP_INTERVAL, ended.cancelled())
                .await
                .is_err()
            {
                metrics.upkeep();
            }
        });
        tasks.spawn(self.servers.clone().follow(ends.stop.clone()));
        if let Some(files) = self.node_files.clone() {
            tasks.spawn(files.remove_regularly(Arc::new(SystemClock), ends.stop.clone()));
        }
        tasks.spawn(self.certificates.clone().follow(ends.stop.clone()));
        if let Some(listener) = self.listeners.ops.take() {
            let servers = self.servers.clone();
            let router = ops::router(
                Arc::clone(&self.health),
                self.metrics.clone(),
                self.scrape(),
                Arc::new(move || servers.failing()),
            );
            let router = disk_space(&self.config).tell(router);
            let operators = operator_api::router(
                self.http_api.api.clone(),
                self.config.forwarding(),
                self.config.is_ops_encrypted(),
            );
            // Merged last, so that the answer to an unknown path is that of the ops listener.
            let router = operators.merge(console_page::router()).merge(router);
            let router = gimlet_web::direct_only(router, self.config.is_development());
            let entrance = self.entrance(ListenerName::Ops, listener, &self.listener_limits.ops);
            tasks.spawn(gimlet_web::serve(
                entrance,
                router,
                tasks.clone(),
                ends.clone(),
            ));
        }
    }

    /// Returns a function that reads the counters of core and of the sessions.
    fn scrape(&self) -> ops::ScrapeFn {
        let (roles, sessions) = (self.roles.clone(), self.sessions.clone());
        let (failures, places) = (Arc::clone(&self.failures), self.listener_limits.clone());
        let (watch, data_dir) = (self.watch.clone(), self.config.data_dir.clone());
        let (servers, files) = (self.servers.clone(), self.node_files.clone());
        let (started, space) = (Instant::now(), disk_space(&self.config));
        let own_roles = self.config.roles.clone();
        let streams = self.http_api.api.streams.clone();
        Arc::new(move |metrics: &ServerMetrics| {
            servers.scrape(metrics);
            let read_only = u64::from(space.shortage().is_some());
            metrics.gauge("gimlet_read_only", read_only);
            metrics.gauge("gimlet_uptime_seconds", started.elapsed().as_secs());
            metrics.gauge("gimlet_nodes", roles.nodes() as u64);
            for role in &own_roles.0 {
                metrics.gauge_of("gimlet_role", ("role", role.name().to_owned()), 1);
            }
            metrics.gauge("gimlet_http_streams", streams.open());
            scrape_process(metrics, &data_dir);
            if let Some(files) = &files {
                files.scrape(metrics);
            }
            if let Some((open, idle)) = watch.mysql_connections() {
                metrics.gauge("gimlet_mysql_connections", open);
                metrics.gauge("gimlet_mysql_idle_connections", idle);
            }
            metrics.counter("gimlet_parcels_dropped_total", roles.dropped());
            metrics.counter("gimlet_wrong_tokens_total", failures.failed());
            let clients = places.clients.refused() + places.grpc.refused();
            let away = clients + places.http.refused();
            metrics.counter("gimlet_turned_away_total", away);
            if let Some(failures) = roles.business_failures() {
                metrics.counter("gimlet_business_failures_total", failures);
            }
            if let Some(service) = roles.service() {
                let (sends, bytes) = service.send_queue();
                metrics.gauge("gimlet_send_queue", sends as u64);
                metrics.gauge("gimlet_send_queue_bytes", bytes as u64);
                let (entries, groups) = service.job_backlog();
                metrics.gauge("gimlet_job_backlog", entries);
                metrics.gauge("gimlet_job_groups", groups as u64);
                let batches = service.batch_counts();
                metrics.counter("gimlet_batch_failures_total", batches.failures);
                metrics.histogram("gimlet_batch_sends", &batches.sends, 1.0);
                metrics.histogram("gimlet_batch_seconds", &batches.micros, 1_000_000.0);
            }
            crate::hook_metrics::scrape(metrics, &roles);
            crate::push_metrics::scrape(metrics, &roles);
            let (Some(sessions), Some(gateway)) = (&sessions, roles.gateway()) else {
                return;
            };
            let (hub, stats) = (gateway.hub(), sessions.stats());
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (opened, closed) = (read(&stats.opened), read(&stats.closed));
            metrics.gauge("gimlet_connections", hub.connections() as u64);
            metrics.gauge("gimlet_sockets", opened.saturating_sub(closed));
            metrics.counter("gimlet_opened_total", opened);
            metrics.counter("gimlet_closed_total", closed);
            metrics.counter("gimlet_pushed_total", hub.pushed());
            metrics.counter("gimlet_frames_in_total", read(&stats.frames_in));
            metrics.counter("gimlet_frames_out_total", read(&stats.frames_out));
            metrics.counter("gimlet_socket_sends_total", read(&stats.sends));
            metrics.counter("gimlet_undecodable_total", read(&stats.undecodable));
            let (lags, caught_up) = hub.lags();
            metrics.counter("gimlet_lags_total", lags);
            metrics.counter("gimlet_caught_up_total", caught_up);
            for (code, count) in stats.refusals() {
                let label = ("code", code.to_string());
                metrics.counter_of("gimlet_socket_refusals_total", label, count);
            }
        })
    }
}

/// Sets the metrics that the operating system provides.
fn scrape_process(metrics: &ServerMetrics, data_dir: &std::path::Path) {
    if let Some(free) = process::free_bytes(data_dir) {
        metrics.gauge("gimlet_disk_free_bytes", free);
    }
    if let Some(usage) = process::usage() {
        metrics.gauge("process_resident_memory_bytes", usage.resident);
        metrics.gauge("process_threads", usage.threads);
        metrics.gauge("process_open_fds", usage.descriptors);
        metrics.gauge("process_max_fds", usage.descriptors_max);
        metrics.counter("process_cpu_seconds_total", usage.cpu_seconds);
    }
}

/// Time for connections to end after the forced close.
const FORCED_CLOSE_TIME: Duration = Duration::from_secs(1);

/// Interval at which the dependencies of this node are checked.
const DEPENDENCY_CHECK_INTERVAL: Duration = Duration::from_millis(500);

const NO_LOGIC_NODE_TEXT: &str = "no logic node is reached";

/// Time for flushing and closing, even when draining has used up the grace.
const MIN_FINISH_TIME: Duration = Duration::from_secs(5);

impl BuiltServer {
    /// Keeps the readiness up to date: ready while everything that this process cannot serve
    /// without is reached. Never returns.
    async fn follow(&self) {
        let mut reported = None;
        loop {
            let why = self.servers.keep_out();
            self.say(&mut reported, why).await;
            let looked = tokio::time::timeout(DEPENDENCY_CHECK_INTERVAL, self.roles.lost()).await;
            if looked.is_ok() {
                let why = Some(NO_LOGIC_NODE_TEXT.to_owned());
                self.say(&mut reported, why).await;
                self.roles.reached().await;
            }
        }
    }

    /// Sets the readiness for probes, and logs a change of it.
    async fn say(&self, reported: &mut Option<bool>, why: Option<String>) {
        let ready = why.is_none();
        let before = reported.replace(ready);
        if before != Some(ready) {
            match &why {
                Some(why) => gimlet_core::warn_rated!(why, "not ready"),
                None if before.is_some() => gimlet_core::info_rated!("ready again"),
                None => {}
            }
            self.api.set_serving(ready).await;
        }
        self.health
            .set(why.map_or(HealthState::Ready, HealthState::Waiting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a storage that failed during `stop.delay` ended the delay, and the exit code was
    /// 0; a gRPC listener that failed then was ignored.
    #[tokio::test(start_paused = true)]
    async fn a_failure_during_the_delay_of_a_stop_is_its_outcome() {
        let hour = Duration::from_hours(1);
        let (died, mut deaths) = mpsc::channel(1);
        let begun = Instant::now();
        let served = serve_on(hour, &StorageWatch::Memory, &mut deaths).await;
        assert!(served.is_ok() && begun.elapsed() >= hour);
        let failed = RunError::Storage("on purpose".into());
        died.try_send(failed).unwrap();
        let served = serve_on(hour, &StorageWatch::Memory, &mut deaths).await;
        assert!(matches!(served, Err(RunError::Storage(_))), "{served:?}");
        assert!(begun.elapsed() < hour * 2);
    }
}
