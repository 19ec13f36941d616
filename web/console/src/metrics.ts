/** A sample of a metric. */
export interface MetricSample {
  labels: Record<string, string>;
  value: number;
}

/** Everything that one request for /metrics returned. */
export interface MetricSnapshot {
  /** Time of the request, in milliseconds since 1970. */
  at: number;
  samples: ReadonlyMap<string, readonly MetricSample[]>;
}

/** Labels that a sample must have. */
export type LabelFilter = Record<string, string>;

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Record<string, string> = { "\\\\": "\\", '\\"': '"', "\\n": "\n" };

/** Parses Prometheus' text format; lines that are not samples are skipped. */
export function parseMetrics(text: string, at: number): MetricSnapshot {
  const samples = new Map<string, MetricSample[]>();
  for (const line of text.split("\n")) {
    const found = SAMPLE.exec(line);
    if (!found) continue;
    const [, name = "", inside = "", number = ""] = found;
    const value = valueOf(number);
    if (Number.isNaN(value)) continue;
    const labels: Record<string, string> = {};
    for (const [, label = "", escaped = ""] of inside.matchAll(LABEL)) {
      labels[label] = escaped.replace(/\\[\\"n]/g, (it) => ESCAPES[it] ?? it);
    }
    const listed = samples.get(name);
    if (listed) listed.push({ labels, value });
    else samples.set(name, [{ labels, value }]);
  }
  return { at, samples };
}

function valueOf(number: string): number {
  if (number === "+Inf") return Infinity;
  return number === "-Inf" ? -Infinity : Number(number);
}

const fits = (sample: MetricSample, filter: LabelFilter) =>
  Object.entries(filter).every(([label, value]) => sample.labels[label] === value);

/** Returns the samples of a metric that have these labels. */
export function samplesOf(
  snapshot: MetricSnapshot,
  name: string,
  filter: LabelFilter = {},
): readonly MetricSample[] {
  return (snapshot.samples.get(name) ?? []).filter((sample) => fits(sample, filter));
}

/** Returns the sum of a metric, or undefined if the server does not have it. */
export function total(
  snapshot: MetricSnapshot,
  name: string,
  filter: LabelFilter = {},
): number | undefined {
  const samples = samplesOf(snapshot, name, filter);
  return samples.length === 0 ? undefined : samples.reduce((sum, { value }) => sum + value, 0);
}

const seriesKey = ({ labels }: MetricSample) => JSON.stringify(Object.entries(labels).sort());

/** Returns the growth of each series of a counter. One that became smaller began at zero again. */
function growths(
  before: MetricSnapshot,
  now: MetricSnapshot,
  name: string,
  filter: LabelFilter,
): MetricSample[] {
  const earlier = new Map(samplesOf(before, name, filter).map((it) => [seriesKey(it), it.value]));
  return samplesOf(now, name, filter).map((sample) => {
    const past = earlier.get(seriesKey(sample)) ?? 0;
    const value = sample.value >= past ? sample.value - past : sample.value;
    return { labels: sample.labels, value };
  });
}

/** Returns the growth of a counter between two snapshots, or undefined if the server does not have it. */
export function growth(
  before: MetricSnapshot,
  now: MetricSnapshot,
  name: string,
  filter: LabelFilter = {},
): number | undefined {
  const grown = growths(before, now, name, filter);
  return grown.length === 0 ? undefined : grown.reduce((sum, { value }) => sum + value, 0);
}

/** Returns the growth of a counter per second. */
export function rate(
  before: MetricSnapshot,
  now: MetricSnapshot,
  name: string,
  filter: LabelFilter = {},
): number | undefined {
  const grown = growth(before, now, name, filter);
  const seconds = (now.at - before.at) / 1_000;
  return grown === undefined || seconds <= 0 ? undefined : grown / seconds;
}

/**
 * Returns a quantile of what a histogram counted between two snapshots, over all of its series; undefined
 * if nothing was counted. Within a bucket the values count as evenly spread, as in Prometheus.
 */
export function quantile(
  before: MetricSnapshot,
  now: MetricSnapshot,
  name: string,
  part: number,
  filter: LabelFilter = {},
): number | undefined {
  const counts = new Map<number, number>();
  for (const { labels, value } of growths(before, now, `${name}_bucket`, filter)) {
    const bound = valueOf(labels["le"] ?? "");
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  const buckets = [...counts].sort(([left], [right]) => left - right);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all === 0) return undefined;
  const wanted = part * all;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= wanted) {
      // Above the last bound nothing is known but that.
      if (bound === Infinity) return lower;
      return count === below ? bound : lower + ((bound - lower) * (wanted - below)) / (count - below);
    }
    [lower, below] = [bound, count];
  }
  return lower;
}

/** Returns the mean of what a histogram counted between two snapshots. */
export function mean(
  before: MetricSnapshot,
  now: MetricSnapshot,
  name: string,
  filter: LabelFilter = {},
): number | undefined {
  const count = growth(before, now, `${name}_count`, filter);
  const sum = growth(before, now, `${name}_sum`, filter);
  return count && sum !== undefined ? sum / count : undefined;
}

/** Returns the values of a label, in order. */
export function labelValues(snapshot: MetricSnapshot, name: string, label: string): string[] {
  const values = samplesOf(snapshot, name).map(({ labels }) => labels[label] ?? "");
  return [...new Set(values)].filter(Boolean).sort();
}
