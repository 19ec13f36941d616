import type { HttpApi } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import type { NodeInfo, NodeList } from "../../sdk/src/api/types.ts";
import { Card, reasonOf, Table } from "./parts.tsx";
import { text } from "./texts.ts";

/** Time between two requests, in milliseconds. */
const INTERVAL_MS = 2_000;

/** The nodes of the cluster. */
export function NodesPage({ api }: { api: HttpApi }) {
  const [nodes, setNodes] = useState<NodeInfo[]>();
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const ended = new AbortController();
    const follow = async () => {
      while (!ended.signal.aborted) {
        try {
          const list = await api.call<NodeList>("GET", "/v1/nodes", { signal: ended.signal });
          setNodes(list.nodes);
          setProblem("");
        } catch (error) {
          if (!ended.signal.aborted) setProblem(reasonOf(error));
        }
        await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
      }
    };
    void follow();
    return () => ended.abort();
  }, [api]);
  return (
    <>
      {problem && <p class="problem" role="alert">{problem}</p>}
      {!nodes && !problem && <p class="quiet">{text("loading")}</p>}
      {nodes && (
        <Card title={text("nodes")}>
          <p class="quiet">{text(nodes.length > 1 ? "nodesLead" : "noNodes")}</p>
          <Table heads={[text("node"), text("role"), text("state")]}>
            {nodes.map((node) => (
              <tr>
                <th scope="row">{node.is_this_node ? `${node.address} (${text("thisNode")})` : node.address}</th>
                <td>{node.roles.join(", ")}</td>
                <td class={node.is_reachable ? "good" : "bad"}>
                  {text(node.is_reachable ? "reachable" : "unreachable")}
                </td>
              </tr>
            ))}
          </Table>
        </Card>
      )}
    </>
  );
}
