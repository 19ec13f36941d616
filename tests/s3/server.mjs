// An S3-compatible server on a free port of loopback, with the bucket `gimlet`: server.mjs FOLDER.
// It prints its address, and ends when its input does.
//
// s3rver does not check signatures of version 4, so this file does: by the text of AWS's documentation ("Authenticating
// Requests"), in headers and in URLs.
import { createHash, createHmac } from "node:crypto";
import { createServer } from "node:http";
import S3rver from "s3rver";

const ACCESS_KEY = "S3RVER";
const SECRET_KEY = "S3RVER";

const store = new S3rver({
  address: "127.0.0.1",
  port: 0,
  silent: true,
  directory: process.argv[2],
  configureBuckets: [{ name: "gimlet" }],
});
await store.run();
const serve = store.callback();

const hex = (text) => createHash("sha256").update(text).digest("hex");
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

/** Returns the signature of a request with these signed headers. */
function signature(request, query, signedHeaders, time, scope, payload) {
  const path = request.url.split("?")[0];
  const pairs = query.map(([name, value]) => `${name}=${value}`).sort();
  const headers = signedHeaders.map((name) => `${name}:${String(request.headers[name] ?? "").trim()}\n`);
  const canonical = [
    request.method, path, pairs.join("&"), headers.join(""), signedHeaders.join(";"), payload,
  ].join("\n");
  const text = ["AWS4-HMAC-SHA256", time, scope, hex(canonical)].join("\n");
  const [date, region, service] = scope.split("/");
  const key = hmac(hmac(hmac(hmac(`AWS4${SECRET_KEY}`, date), region), service), "aws4_request");
  return hmac(key, text).toString("hex");
}

/** Returns the pairs of the query, still encoded. */
function queryOf(url) {
  const text = url.split("?")[1] ?? "";
  return text === "" ? [] : text.split("&").map((pair) => [pair.split("=")[0], pair.split("=")[1] ?? ""]);
}

/** Returns why a request is refused; undefined if its signature is right. */
function refusal(request) {
  const query = queryOf(request.url);
  const field = (name) => decodeURIComponent(query.find(([it]) => it === name)?.[1] ?? "");
  const authorization = request.headers.authorization;
  if (authorization) {
    const parts = Object.fromEntries(
      authorization.replace("AWS4-HMAC-SHA256 ", "").split(", ").map((part) => part.split(/=(.*)/s)));
    const [key, ...scope] = (parts.Credential ?? "").split("/");
    const time = request.headers["x-amz-date"];
    const payload = request.headers["x-amz-content-sha256"];
    const right = signature(request, query, parts.SignedHeaders.split(";"), time, scope.join("/"), payload);
    return key === ACCESS_KEY && right === parts.Signature ? undefined : "SignatureDoesNotMatch";
  }
  const given = field("X-Amz-Signature");
  if (given === "") return "AccessDenied";
  const [key, ...scope] = field("X-Amz-Credential").split("/");
  const time = field("X-Amz-Date");
  const signed = query.filter(([name]) => name !== "X-Amz-Signature");
  const headers = field("X-Amz-SignedHeaders").split(";");
  const right = signature(request, signed, headers, time, scope.join("/"), "UNSIGNED-PAYLOAD");
  const at = time.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z");
  if (Date.parse(at) + Number(field("X-Amz-Expires")) * 1000 < Date.now()) return "AccessDenied";
  return key === ACCESS_KEY && right === given ? undefined : "SignatureDoesNotMatch";
}

const server = createServer((request, response) => {
  const code = refusal(request);
  if (code) {
    request.resume();
    response.writeHead(403, { "Content-Type": "application/xml" });
    response.end(`<Error><Code>${code}</Code><Message>refused</Message></Error>`);
    return;
  }
  // The rest is the store's; it would check the signature of a URL its own way.
  delete request.headers.authorization;
  const others = queryOf(request.url).filter(([name]) => !name.startsWith("X-Amz-"));
  const query = others.map((pair) => pair.join("=")).join("&");
  request.url = request.url.split("?")[0] + (query ? `?${query}` : "");
  serve(request, response);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
