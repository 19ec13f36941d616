import { growth, mean, type MetricSnapshot, quantile, rate, total } from "./metrics.ts";

/** Values of one moment, by the name of their series; undefined where nothing was measured. */
export type SeriesPoint = { at: number } & Partial<Record<SeriesName, number | undefined>>;

type Measure = (before: MetricSnapshot, now: MetricSnapshot) => number | undefined;

const gauge =
  (name: string): Measure =>
  (_, now) =>
    total(now, name);
const counter =
  (name: string): Measure =>
  (before, now) =>
    rate(before, now, name);

const plus = (...values: (number | undefined)[]) => {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0);
};

/** Everything that is plotted, and how it is read. */
const MEASURES = {
  connections: gauge("gimlet_connections"),
  sockets: gauge("gimlet_sockets"),
  lagging: (_, now) => {
    const [lags, caughtUp] = ["gimlet_lags_total", "gimlet_caught_up_total"].map((it) => total(now, it));
    return lags === undefined || caughtUp === undefined ? undefined : lags - caughtUp;
  },
  opened: counter("gimlet_opened_total"),
  closed: counter("gimlet_closed_total"),
  // The storage counts sends of all doors; a node without it has those of its own sockets.
  sends: (before, now) =>
    rate(before, now, "gimlet_batch_sends_sum") ?? rate(before, now, "gimlet_socket_sends_total"),
  pushed: counter("gimlet_pushed_total"),
  framesIn: counter("gimlet_frames_in_total"),
  framesOut: counter("gimlet_frames_out_total"),
  batchSize: (before, now) => mean(before, now, "gimlet_batch_sends"),
  batchFailures: counter("gimlet_batch_failures_total"),
  storeMedian: (before, now) => quantile(before, now, "gimlet_batch_seconds", 0.5),
  storeTail: (before, now) => quantile(before, now, "gimlet_batch_seconds", 0.99),
  grpcMedian: (before, now) => quantile(before, now, "gimlet_request_seconds", 0.5),
  grpcTail: (before, now) => quantile(before, now, "gimlet_request_seconds", 0.99),
  httpMedian: (before, now) => quantile(before, now, "gimlet_http_request_seconds", 0.5),
  httpTail: (before, now) => quantile(before, now, "gimlet_http_request_seconds", 0.99),
  sendQueue: gauge("gimlet_send_queue"),
  jobBacklog: gauge("gimlet_job_backlog"),
  refusals: (before, now) =>
    plus(
      rate(before, now, "gimlet_socket_refusals_total"),
      rate(before, now, "gimlet_refusals_total"),
    ),
  wrongTokens: counter("gimlet_wrong_tokens_total"),
  turnedAway: counter("gimlet_turned_away_total"),
  webhookBacklog: gauge("gimlet_webhook_backlog"),
  webhookFailed: counter("gimlet_webhook_failed_total"),
  dropped: counter("gimlet_parcels_dropped_total"),
  cpu: (before, now) => {
    const seconds = growth(before, now, "process_cpu_seconds_total");
    const elapsed = (now.at - before.at) / 1_000;
    return seconds === undefined || elapsed <= 0 ? undefined : (seconds * 100) / elapsed;
  },
  memory: gauge("process_resident_memory_bytes"),
} satisfies Record<string, Measure>;

/** Names of the series. */
export type SeriesName = keyof typeof MEASURES;

/** Returns the values between two snapshots. */
export function measure(before: MetricSnapshot, now: MetricSnapshot): SeriesPoint {
  const point: SeriesPoint = { at: now.at };
  for (const [name, read] of Object.entries(MEASURES) as [SeriesName, Measure][]) {
    point[name] = read(before, now);
  }
  return point;
}
