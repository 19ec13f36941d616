// A gimlet server for a test, which can be killed and started again at the same ports.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PORTS = ["TCP", "WS", "HTTP", "GRPC", "INTERNAL", "OPS"];

/** Returns free ports of the loopback interface; all are taken at once, so that no two are the same. */
async function freePorts(count) {
  const probes = Array.from({ length: count }, () => createServer());
  await Promise.all(
    probes.map((probe) => new Promise((resolve, reject) => {
      probe.on("error", reject);
      probe.listen(0, "127.0.0.1", resolve);
    })),
  );
  const ports = probes.map((probe) => probe.address().port);
  await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))));
  return ports;
}

/** A server process with a data folder of its own. */
export class TestServer {
  #process;
  #environment;
  #folder;
  #binary;

  /** Everything that the server has logged. */
  log = "";

  /** Starts the program; `storage` is `memory` or `sled`. */
  static async start(binary, storage = "sled", more = {}) {
    const server = new TestServer();
    server.#binary = binary;
    server.#folder = mkdtempSync(join(tmpdir(), "gimlet-web-"));
    server.#environment = {
      GIMLET_DATA_DIR: join(server.#folder, "data"),
      GIMLET_STORAGE__KIND: storage,
      GIMLET_BUSINESS__CODE_VERIFIER: "dev",
      ...more,
    };
    const ports = await freePorts(PORTS.length);
    for (const [at, name] of PORTS.entries()) {
      const port = ports[at];
      server.#environment[`GIMLET_LISTEN__${name}`] = `127.0.0.1:${port}`;
      if (name === "HTTP") server.address = `http://127.0.0.1:${port}`;
      if (name === "OPS") server.opsAddress = `http://127.0.0.1:${port}`;
    }
    await server.restart();
    return server;
  }

  /** Starts the program again and waits until it serves. */
  async restart() {
    const process_ = spawn(this.#binary, [], {
      env: { ...process.env, ...this.#environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    process_.stderr.on("data", (piece) => {
      this.log += piece;
      process.stderr.write(piece);
    });
    this.#process = process_;
    await new Promise((resolve, reject) => {
      let said = "";
      process_.stdout.on("data", (piece) => {
        said += piece;
        if (said.includes("Ctrl-C stops it")) resolve();
      });
      process_.on("exit", (code) => reject(new Error(`gimlet ended with ${code}: ${said}`)));
    });
  }

  /** Kills the program with `kill -9` and waits until it is gone. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.on("exit", resolve));
    this.#process.removeAllListeners("exit");
    this.#process.on("exit", () => undefined);
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await Promise.race([ended, gone]);
  }

  /** Ends the program and removes its data. */
  async end() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
