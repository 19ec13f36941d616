import { bytes, duration, percent, quantity, span } from "./format.ts";
import { total } from "./metrics.ts";
import { dependenciesOf, refusalsOf, webhooksOf } from "./node_state.ts";
import { Card, Table } from "./parts.tsx";
import { Plot } from "./plot.tsx";
import type { NodeView } from "./poller.ts";
import type { SeriesName } from "./series.ts";
import { text } from "./texts.ts";

/** Codes that are shown at most. */
const MAX_CODES = 12;

/** Numbers and plots of the node that serves the page. */
export function OverviewPage({ view }: { view: NodeView }) {
  const { points } = view;
  const has = (name: SeriesName) => points.some((point) => point[name] !== undefined);
  const hasPeers = view.snapshot !== undefined && (total(view.snapshot, "gimlet_nodes") ?? 0) > 0;
  return (
    <>
      <Tiles view={view} />
      <div class="plots">
        {has("connections") && (
          <>
            <Plot
              title={text("connections")}
              points={points}
              show={quantity}
              lines={[
                { series: "connections", label: text("signedIn") },
                { series: "sockets", label: text("sockets") },
                { series: "lagging", label: text("lagging") },
              ]}
            />
            <Plot
              title={text("churn")}
              points={points}
              show={quantity}
              lines={[
                { series: "opened", label: text("opened") },
                { series: "closed", label: text("closed") },
              ]}
            />
          </>
        )}
        <Plot
          title={text("messages")}
          points={points}
          show={quantity}
          lines={[
            { series: "sends", label: text("sends") },
            { series: "pushed", label: text("pushed") },
          ]}
        />
        {has("framesIn") && (
          <Plot
            title={text("frames")}
            points={points}
            show={quantity}
            lines={[
              { series: "framesIn", label: text("framesIn") },
              { series: "framesOut", label: text("framesOut") },
            ]}
          />
        )}
        {has("sendQueue") && (
          <>
            <Plot
              title={text("storeTime")}
              points={points}
              show={duration}
              lines={[
                { series: "storeMedian", label: text("median") },
                { series: "storeTail", label: text("tail") },
              ]}
            />
            <Plot
              title={text("batchSize")}
              points={points}
              show={quantity}
              lines={[{ series: "batchSize", label: text("mean") }]}
            />
            <Plot
              title={text("batchFailures")}
              points={points}
              show={quantity}
              lines={[{ series: "batchFailures", label: text("failedBatches") }]}
            />
            <Plot
              title={text("queues")}
              points={points}
              show={quantity}
              lines={[
                { series: "sendQueue", label: text("sends") },
                { series: "jobBacklog", label: text("groupBacklog") },
              ]}
            />
          </>
        )}
        {has("httpMedian") && (
          <Plot
            title={text("httpTime")}
            points={points}
            show={duration}
            lines={[
              { series: "httpMedian", label: text("median") },
              { series: "httpTail", label: text("tail") },
            ]}
          />
        )}
        {has("grpcMedian") && (
          <Plot
            title={text("grpcTime")}
            points={points}
            show={duration}
            lines={[
              { series: "grpcMedian", label: text("median") },
              { series: "grpcTail", label: text("tail") },
            ]}
          />
        )}
        <Plot
          title={text("refusals")}
          points={points}
          show={quantity}
          lines={[
            { series: "refusals", label: text("refused") },
            { series: "wrongTokens", label: text("wrongTokens") },
            { series: "turnedAway", label: text("turnedAway") },
          ]}
        />
        {has("webhookBacklog") && (
          <Plot
            title={text("webhookEvents")}
            points={points}
            show={quantity}
            lines={[
              { series: "webhookBacklog", label: text("waitingEvents") },
              { series: "webhookFailed", label: text("failedPerSecond") },
            ]}
          />
        )}
        {hasPeers && (
          <Plot
            title={text("droppedPushes")}
            points={points}
            show={quantity}
            lines={[{ series: "dropped", label: text("dropped") }]}
          />
        )}
        <Plot
          title={text("process")}
          points={points}
          show={percent}
          lines={[{ series: "cpu", label: text("cpu") }]}
        />
      </div>
      <Tables view={view} />
    </>
  );
}

function Tiles({ view }: { view: NodeView }) {
  const { snapshot } = view;
  if (!snapshot) return null;
  const last = view.points.at(-1);
  const of = (name: string) => total(snapshot, name);
  const descriptors = [of("process_open_fds"), of("process_max_fds")].map(quantity).join(" / ");
  const tiles: [string, string][] = [
    [text("uptime"), span(of("gimlet_uptime_seconds"))],
    [text("connections"), quantity(of("gimlet_connections"))],
    [text("lagging"), quantity(last?.lagging)],
    [text("sendsPerSecond"), quantity(last?.sends)],
    [text("sendQueue"), quantity(of("gimlet_send_queue"))],
    [text("otherNodes"), quantity(of("gimlet_nodes"))],
    [text("cpu"), percent(last?.cpu)],
    [text("memory"), bytes(of("process_resident_memory_bytes"))],
    [text("diskFree"), bytes(of("gimlet_disk_free_bytes"))],
    [text("descriptors"), descriptors],
  ];
  return (
    <dl class="tiles">
      {tiles.filter(([, value]) => value !== "–").map(([name, value]) => (
        <div class="tile">
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Tables({ view: { snapshot } }: { view: NodeView }) {
  if (!snapshot) return null;
  const dependencies = dependenciesOf(snapshot);
  const refusals = refusalsOf(snapshot).slice(0, MAX_CODES);
  const hooks = webhooksOf(snapshot);
  const [open, idle] = ["gimlet_mysql_connections", "gimlet_mysql_idle_connections"].map((it) => total(snapshot, it));
  return (
    <div class="tables">
      <Card title={text("storage")}>
        {dependencies.length === 0 ? (
          <p class="quiet">{text("embedded")}</p>
        ) : (
          <Table heads={[text("dependency"), text("state"), text("failures")]}>
            {dependencies.map(({ name, isUp, failures }) => (
              <tr>
                <th scope="row">{name}</th>
                <td class={isUp ? "good" : "bad"}>{text(isUp ? "up" : "down")}</td>
                <td class="number">{quantity(failures)}</td>
              </tr>
            ))}
          </Table>
        )}
        {open !== undefined && (
          <p class="quiet small">{text("mysqlConnections", { open: quantity(open), idle: quantity(idle) })}</p>
        )}
      </Card>
      <Card title={text("refusalsByCode")}>
        {refusals.length === 0 ? (
          <p class="quiet">{text("noRefusals")}</p>
        ) : (
          <Table heads={[text("code"), text("overSockets"), text("overGrpc")]}>
            {refusals.map(({ code, sockets, grpc }) => (
              <tr>
                <th scope="row">{code}</th>
                <td class="number">{quantity(sockets)}</td>
                <td class="number">{quantity(grpc)}</td>
              </tr>
            ))}
          </Table>
        )}
      </Card>
      <Card title={text("webhookState")}>
        {hooks.length === 0 ? (
          <p class="quiet">{text("noWebhooks")}</p>
        ) : (
          <Table heads={[text("name"), text("backlog"), text("oldest"), text("deadLetters"), text("failed")]}>
            {hooks.map((hook) => (
              <tr>
                <th scope="row">{hook.name}</th>
                <td class="number">{quantity(hook.backlog)}</td>
                <td class="number">{span(hook.oldestSeconds)}</td>
                <td class={hook.deadLetters > 0 ? "number bad" : "number"}>{quantity(hook.deadLetters)}</td>
                <td class="number">{quantity(hook.failed)}</td>
              </tr>
            ))}
          </Table>
        )}
      </Card>
    </div>
  );
}
