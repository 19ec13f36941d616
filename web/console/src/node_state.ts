import { labelValues, type MetricSnapshot, samplesOf, total } from "./metrics.ts";

/** Readiness, as /readyz tells it. */
export interface Readiness {
  kind: "ready" | "read-only" | "waiting" | "unanswered";
  /** The server's words. */
  text: string;
}

/** Returns the readiness that an answer of /readyz tells. */
export function readinessOf(status: number, text: string): Readiness {
  const [first = "", ...rest] = text.trim().split("\n");
  if (status !== 200) return { kind: "waiting", text: text.trim() };
  const isReadOnly = first.includes("read-only");
  const kind = isReadOnly ? "read-only" : "ready";
  return { kind, text: isReadOnly ? text.trim() : rest.join("\n") };
}

/** Returns the roles of a node. */
export function rolesOf(snapshot: MetricSnapshot): string[] {
  return labelValues(snapshot, "gimlet_role", "role");
}

/** The state of MySQL or Redis. */
export interface DependencyState {
  name: string;
  isUp: boolean;
  failures: number;
}

/** Returns the dependencies of a node; one with an embedded storage has none. */
export function dependenciesOf(snapshot: MetricSnapshot): DependencyState[] {
  return samplesOf(snapshot, "gimlet_dependency_up").map(({ labels, value }) => {
    const name = labels["dependency"] ?? "";
    const failures = total(snapshot, "gimlet_dependency_failures_total", { dependency: name }) ?? 0;
    return { name, isUp: value === 1, failures };
  });
}

/** The state of a webhook on this node. */
export interface WebhookState {
  name: string;
  backlog: number;
  oldestSeconds: number;
  deadLetters: number;
  delivered: number;
  failed: number;
}

/** Returns the webhooks that this node delivers or may deliver. */
export function webhooksOf(snapshot: MetricSnapshot): WebhookState[] {
  return labelValues(snapshot, "gimlet_webhook_delivered_total", "webhook").map((name) => {
    const of = (metric: string) => total(snapshot, `gimlet_webhook_${metric}`, { webhook: name }) ?? 0;
    return {
      name,
      backlog: of("backlog"),
      oldestSeconds: of("oldest_seconds"),
      deadLetters: of("dead_letters"),
      delivered: of("delivered_total"),
      failed: of("failed_total"),
    };
  });
}

/** Refusals of one code. */
export interface RefusalCount {
  code: string;
  sockets: number;
  grpc: number;
}

/** Returns the refusals since the start of the node, the most frequent code first. */
export function refusalsOf(snapshot: MetricSnapshot): RefusalCount[] {
  const codes = new Set([
    ...labelValues(snapshot, "gimlet_socket_refusals_total", "code"),
    ...labelValues(snapshot, "gimlet_refusals_total", "code"),
  ]);
  const counts = [...codes].map((code) => ({
    code,
    sockets: total(snapshot, "gimlet_socket_refusals_total", { code }) ?? 0,
    grpc: total(snapshot, "gimlet_refusals_total", { code }) ?? 0,
  }));
  return counts.sort((left, right) => right.sockets + right.grpc - left.sockets - left.grpc);
}
