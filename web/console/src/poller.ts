import { type MetricSnapshot, parseMetrics } from "./metrics.ts";
import { type Readiness, readinessOf } from "./node_state.ts";
import { measure, type SeriesPoint } from "./series.ts";

/** Time between two requests, in milliseconds. */
const INTERVAL_MS = 1_000;
/** Time after which a request counts as not answered: with the interval, a dead node shows within 5 s. */
const TIMEOUT_MS = 3_000;
/** Points that are kept: five minutes. */
const MAX_POINTS = 300;
/** Time over which rates and quantiles are measured, so that a quiet server does not flicker. */
const WINDOW_MS = 5_000;

/** Everything that is known about the node. */
export interface NodeView {
  /** The last answer. */
  snapshot?: MetricSnapshot;
  readiness: Readiness;
  points: SeriesPoint[];
  /** Time since which the node does not answer, in milliseconds since 1970. */
  silentSince?: number;
}

/** Follows the node that serves the page until the returned function is called. */
export function followNode(show: (view: NodeView) => void): () => void {
  const ended = new AbortController();
  const recent: MetricSnapshot[] = [];
  let view: NodeView = { readiness: { kind: "waiting", text: "" }, points: [] };

  const look = async () => {
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    try {
      const [metrics, ready] = await Promise.all([
        fetch("/metrics", { signal, cache: "no-store" }),
        fetch("/readyz", { signal, cache: "no-store" }),
      ]);
      const [text, words] = await Promise.all([metrics.text(), ready.text()]);
      const snapshot = parseMetrics(text, Date.now());
      const points = [...view.points];
      const before = recent.find((it) => snapshot.at - it.at <= WINDOW_MS) ?? recent.at(-1);
      if (before) points.push(measure(before, snapshot));
      recent.push(snapshot);
      while (recent.length > 1 && snapshot.at - (recent[0]?.at ?? 0) > 2 * WINDOW_MS) recent.shift();
      const readiness = readinessOf(ready.status, words);
      view = { snapshot, readiness, points: points.slice(-MAX_POINTS) };
    } catch (error) {
      if (ended.signal.aborted) return;
      const at = Date.now();
      const readiness: Readiness = { kind: "unanswered", text: String(error) };
      // A point without values is a gap in the plots. What was measured before a gap says nothing after it.
      recent.length = 0;
      const points = [...view.points, { at }].slice(-MAX_POINTS);
      view = { ...view, readiness, points, silentSince: view.silentSince ?? at };
    }
    show(view);
  };

  const follow = async () => {
    while (!ended.signal.aborted) {
      const began = Date.now();
      await look();
      const left = Math.max(0, INTERVAL_MS - (Date.now() - began));
      await new Promise((resolve) => setTimeout(resolve, left));
    }
  };
  void follow();
  return () => ended.abort();
}
