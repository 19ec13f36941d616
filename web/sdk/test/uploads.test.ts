import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { GimletError, HttpApi } from "../src/index.ts";
import { upload } from "../src/uploads.ts";

/** Serves one answer to each request, and returns the requests with their bodies. */
async function served(status: number, answer: unknown) {
  const requests: { path: string; authorization: string | undefined; body: string }[] = [];
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    for await (const part of request) body += part;
    const { authorization } = request.headers;
    requests.push({ path: request.url ?? "", authorization, body });
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { address, requests, close: () => server.close() };
}

test("an upload returns what the server knows about the picture", async () => {
  const server = await served(200, {
    file_id: "abc.png",
    url: "https://files.example/v1/files/abc.png",
    thumbnail_url: "https://files.example/v1/files/abc-thumbnail.jpg",
    media_type: "image/png",
    size: "4",
    width: 640,
    height: 480,
  });
  const api = new HttpApi(server.address, "1.2.token");
  const parts: number[] = [];
  const file = new Blob(["file"], { type: "image/png" });
  const name = "näme & co.png";
  const stored = await upload(api, file, { name, onProgress: (part) => parts.push(part) });
  server.close();
  assert.deepEqual(server.requests, [
    {
      path: `/v1/files?${new URLSearchParams({ name })}`,
      authorization: "Bearer 1.2.token",
      body: "file",
    },
  ]);
  assert.deepEqual(stored, {
    url: `${server.address}/v1/files/abc.png`,
    thumbnailUrl: `${server.address}/v1/files/abc-thumbnail.jpg`,
    name,
    size: 4,
    mediaType: "image/png",
    width: 640,
    height: 480,
  });
  assert.deepEqual(parts, [0, 1]);
});

test("a refused upload has the server's words", async () => {
  const detail = "this kind of file is not accepted";
  const server = await served(415, { code: 10001, detail });
  const api = new HttpApi(server.address, "1.2.token");
  const refused = upload(api, new Blob(["<html>"]), { name: "a.html" });
  await assert.rejects(refused, (error) => error instanceof GimletError && error.message === detail);
  server.close();
});
