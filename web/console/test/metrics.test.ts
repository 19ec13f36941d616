import assert from "node:assert/strict";
import { test } from "node:test";
import { growth, labelValues, mean, parseMetrics, quantile, rate, total } from "../src/metrics.ts";

const at = (second: number, text: string) => parseMetrics(text, second * 1_000);

test("samples with and without labels are read, comments and nonsense are not", () => {
  const read = at(0, `# HELP gimlet_connections Connections
# TYPE gimlet_connections gauge
gimlet_connections 7

gimlet_refusals_total{method="a",code="10001"} 2 1700000000000
gimlet_refusals_total{method="b \\"x\\" \\\\ \\n",code="8"} 3
gimlet_broken{ nonsense
gimlet_empty
gimlet_nan NaN
gimlet_bucket{le="+Inf"} 1e3
`);
  assert.equal(total(read, "gimlet_connections"), 7);
  assert.equal(total(read, "gimlet_refusals_total"), 5);
  assert.equal(total(read, "gimlet_refusals_total", { code: "8" }), 3);
  assert.equal(total(read, "gimlet_refusals_total", { method: 'b "x" \\ \n' }), 3);
  assert.equal(total(read, "gimlet_bucket"), 1_000);
  assert.equal(total(read, "gimlet_nan"), undefined);
  assert.equal(total(read, "gimlet_missing"), undefined);
  assert.deepEqual(labelValues(read, "gimlet_refusals_total", "code"), ["10001", "8"]);
});

test("a counter that began again after a restart has grown by its value", () => {
  const before = at(10, 'sends_total{a="1"} 100\nsends_total{a="2"} 5\n');
  const after = at(12, 'sends_total{a="1"} 6\nsends_total{a="2"} 9\nsends_total{a="3"} 2\n');
  assert.equal(growth(before, after, "sends_total"), 12);
  assert.equal(rate(before, after, "sends_total"), 6);
  assert.equal(rate(before, after, "missing_total"), undefined);
  assert.equal(rate(after, after, "sends_total"), undefined, "no time has passed");
});

const buckets = (name: string, counts: [string, number][]) =>
  counts.map(([le, count]) => `seconds_bucket{m="${name}",le="${le}"} ${count}`).join("\n");

test("quantiles are those of the values in between, over all series", () => {
  const before = at(0, buckets("a", [["0.1", 1_000], ["1", 1_000], ["+Inf", 1_000]]));
  const after = at(1, `${buckets("a", [["0.1", 1_050], ["1", 1_100], ["+Inf", 1_100]])}
${buckets("b", [["0.1", 0], ["1", 0], ["+Inf", 0]])}
seconds_sum{m="a"} 50
seconds_count{m="a"} 100`);
  assert.equal(quantile(before, after, "seconds", 0.5), 0.1);
  assert.equal(quantile(before, after, "seconds", 0.75), 0.55);
  assert.equal(quantile(before, after, "seconds", 1), 1);
  assert.equal(quantile(after, after, "seconds", 0.5), undefined, "nothing happened");
  assert.equal(quantile(before, after, "missing", 0.5), undefined);
  assert.equal(mean(before, after, "seconds"), 0.5);
});

test("beyond the last bound the last bound is the answer", () => {
  const before = at(0, "");
  const after = at(1, buckets("a", [["0.1", 0], ["1", 0], ["+Inf", 10]]));
  assert.equal(quantile(before, after, "seconds", 0.99), 1);
});
