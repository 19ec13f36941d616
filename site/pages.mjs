// The pages of the site, in the order of its navigation: the only list of them. stage.mjs copies them, the
// configuration of VitePress makes the sidebar of them, and check.mjs fails on a page that is missing here.

/** Pages whose source is not below docs/, by their address on the site. */
export const OUTSIDE = {
  "readme.md": "README.md",
  "readme.zh-CN.md": "README.zh-CN.md",
  "architecture.md": "ARCHITECTURE.md",
  "changelog.md": "CHANGELOG.md",
  "contributing.md": "CONTRIBUTING.md",
  "deploy.md": "deploy/README.md",
  "tables.md": "sql/README.md",
};

/** Pages that are a section of another one, so that the reference lists them: address, page, heading. */
export const SECTIONS = {
  "metrics.md": { page: "docs/operations.md", heading: "Metrics" },
};

/** The page that sdk.mjs makes of the SDK's source. */
export const SDK = "sdk.md";

export const NAVIGATION = [
  { text: "Start", items: [
    ["What gimlet is", "index.md"],
    ["Run it, talk, embed it", "readme.md"],
    ["中文说明", "readme.zh-CN.md"],
    ["Questions and answers", "faq.md"],
  ] },
  { text: "Concepts", items: [
    ["The inbox", "concepts/inbox.md"],
    ["The cursor", "concepts/cursor.md"],
    ["Write- and read-diffusion", "concepts/diffusion.md"],
    ["Architecture", "architecture.md"],
  ] },
  { text: "Tutorials", items: [
    ["A chat in a web page", "tutorials/web-page.md"],
    ["Call gimlet from a backend", "tutorials/backend.md"],
    ["A chat on a phone", "tutorials/phone.md"],
    ["Write a client of the wire", "client.md"],
  ] },
  { text: "Reference", items: [
    ["HTTP API", "http.md"],
    ["Authorization", "authorization.md"],
    ["Wire protocol", "protocol.md"],
    ["JSON over WebSocket", "websocket-json.md"],
    ["gRPC", "grpc.md"],
    ["Files", "files.md"],
    ["Web chat and JavaScript SDK", "web.md"],
    ["JavaScript SDK: reference", "sdk.md"],
    ["Errors and close codes", "errors.md"],
    ["Command line", "command-line.md"],
    ["Configuration", "configuration.md"],
    ["Metrics", "metrics.md"],
    ["Log lines", "log.md"],
  ] },
  { text: "Your users and programs", items: [
    ["Business server", "business.md"],
    ["JWT", "jwt.md"],
    ["Webhooks", "webhooks.md"],
    ["Push notifications", "push.md"],
  ] },
  { text: "Operations", items: [
    ["Deploy", "deploy.md"],
    ["Operate", "operations.md"],
    ["Console", "console.md"],
    ["Cluster", "cluster.md"],
    ["MySQL", "mysql.md"],
    ["TLS", "tls.md"],
    ["Proxies", "proxies.md"],
    ["Reliability", "reliability.md"],
    ["Performance", "performance.md"],
    ["Performance: method", "performance/method.md"],
    ["Performance: optimisations", "performance/optimisations.md"],
    ["Performance: profiles", "performance/profiles.md"],
    ["Performance: versions", "performance/versions.md"],
  ] },
  { text: "Migration", items: [
    ["From gim", "migration.md"],
  ] },
  { text: "The project", items: [
    ["Changes", "changelog.md"],
    ["Development", "development.md"],
    ["Contributing", "contributing.md"],
    ["Tables in MySQL", "tables.md"],
  ] },
];
