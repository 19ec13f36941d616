//! The sections of the configuration. Each setting is declared once, at its field: its name, doc,
//! codec, default and bound. After a change, `cargo run -p gimlet-server --example settings` writes
//! `gimlet.toml` and `docs/configuration.md`.
//!
//! Long because each setting is declared here with its doc.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gimlet_core::limits::{LimitBound, Limits};
use gimlet_core::memory::RoomBounds;
use gimlet_listen::TrustedNetwork;
use gimlet_listen::forwarded::ForwardedHeader;

use super::codec;
use super::repeated::{ItemList, RepeatedSection};
use super::setting::{ConfigKey, SettingGroup, settings, settings_of_core};
use super::values::{
    BusinessKind, CodeVerifier, DirectPolicy, FileStoreKind, GroupAdd, ListenerName, LogFormat,
    NodeRole, NodeRoles, RoomPush, StorageDurability, StorageKind, SyncFromZero, WebhookFailure,
};
use super::webhook_settings::WebhookConfig;
use crate::secret::SecretString;

/// One setting of this configuration.
pub(super) type ConfigSetting = ConfigKey<Config>;

settings! {
    /// The whole configuration. `gimlet.toml` beside this crate says what each key means.
    pub struct Config [] "" {
        /// Folder of the embedded storage and of uploaded files; created if missing, accessible
        /// only to its owner (0700).
        data_dir: PathBuf as path = PathBuf::from("./data");
        /// Roles of this process: `connect` (clients' sockets), `logic` (sends, sync, groups) and
        /// `business` (accounts and files). In separate processes they need `storage.kind` `mysql`;
        /// `connect,logic` with a business server of your own also runs on `sled` or `memory`. See
        /// `docs/cluster.md`.
        roles: NodeRoles as roles = NodeRoles::default();
        with {
            /// Storage engine.
            storage: StorageConfig = StorageConfig::default();
            /// Addresses for clients and backends.
            listen: ListenConfig = ListenConfig::default();
            /// Proxies in front of the listeners.
            proxies: ProxyConfig = ProxyConfig::default();
            /// Certificate of the listeners, and who encrypts without one.
            tls: TlsConfig = TlsConfig::default();
            /// The business service.
            business: BusinessConfig = BusinessConfig::default();
            /// Tokens that the backend issues itself.
            auth: AuthConfig = AuthConfig::default();
            /// Calls of this server to others.
            outbound: OutboundConfig = OutboundConfig::default();
            /// The HTTP listener: uploads, pages and backends.
            http: HttpConfig = HttpConfig::default();
            /// Uploaded files.
            files: FilesConfig = FilesConfig::default();
            /// Switches for gim's old clients.
            compat: CompatConfig = CompatConfig::default();
            /// Rules that each deployment chooses.
            policy: PolicyConfig = PolicyConfig::default();
            /// Bounds of what rooms keep.
            rooms: RoomBounds = RoomBounds::default();
            /// Bounds of everything else.
            limits: LimitsConfig = LimitsConfig::default();
            /// Timing of a stop.
            stop: StopConfig = StopConfig::default();
            /// Format and level of the log.
            log: LogConfig = LogConfig::default();
            /// Other nodes.
            cluster: ClusterConfig = ClusterConfig::default();
            /// Push notifications.
            push: PushConfig = PushConfig::default();
            /// Programs that get events.
            webhooks: Vec<WebhookConfig> = Vec::new();
            /// `true` if variables of a service named gimlet were in the environment and were
            /// ignored.
            #[doc(hidden)]
            service_links: bool = false;
        }
    }
}

settings! {
    /// `[storage]`.
    pub struct StorageConfig [storage] "storage." {
        /// Storage engine: `memory` (lost when the process ends), `sled` (embedded, one process,
        /// under `data_dir`) or `mysql` (MySQL and Redis).
        kind: StorageKind as choice = if cfg!(feature = "sled") {
            StorageKind::Sled
        } else {
            StorageKind::Memory
        };
        /// With sled, the failures that an answered send survives: `power` means also a loss of
        /// power, `process` means only a killed process, and is faster.
        durability: StorageDurability as choice = StorageDurability::Power;
        /// With sled, sends are refused while the disk has less free space than this; reads
        /// continue.
        min_free: u64 as bytes = 256 << 20;
        /// With sled, the size of its page cache, measured by the stored size of pages; in memory
        /// it takes up to ten times that. See `docs/operations.md#storage-sled`.
        cache: u64 as bytes = 256 << 20,
            LimitBound::at_least(1 << 20, ": it is a number of bytes; write at least \"1MiB\"");
        /// Address of MySQL: `mysql://user:password@host:port/database`. With `mysql`, for the
        /// roles logic and business.
        mysql_url: Option<SecretString> as secret_url = None;
        /// Address of Redis: `redis://host:port/db`, `rediss://` for TLS; the nodes of a Redis
        /// Cluster separated by commas; or Sentinels as
        /// `redis+sentinel://user:password@host:26379,host:26379/service/db` (`rediss+sentinel://`
        /// for TLS), with `?sentinel_password=…` if they require one. With `mysql`, for all roles.
        redis_url: Option<SecretString> as secret_url = None;
        /// PEM file of the CA that signed MySQL's certificate. The connection then uses TLS, and
        /// the certificate and its name are verified, unless `mysql_url` has `?ssl-mode=VERIFY_CA`
        /// or another mode.
        mysql_ca: Option<String> as maybe = None;
        /// PEM file of the CA that signed Redis's certificate, for `rediss://`. Without it the
        /// system's CAs are trusted (and those of `SSL_CERT_FILE`).
        redis_ca: Option<String> as maybe = None;
        /// Maximum number of connections of this process to MySQL; if the server grants fewer,
        /// gimlet works with those.
        mysql_connections: u32 as number = 16, LimitBound::at_least(1, "; write at least 1");
        /// Batches of sends of this process in flight at a time, at most half of the connections.
        /// More of them compensate for slow commits, and the others continue while one waits for a
        /// lock.
        mysql_parallel_batches: u32 as number = 8, LimitBound::at_least(1, "; write at least 1");
        /// Accepts a MySQL server that answers a commit before it is on disk; if that machine
        /// fails, answered messages can be lost.
        relaxed_durability: bool as switch = false;
        /// Prefix of every key in Redis, so that several clusters can share one Redis. Each cluster
        /// needs its own prefix, and a second cluster on the same one is refused.
        redis_prefix: String as text = "gimlet:".into();
        /// Migrates the tables in MySQL to this version at start; otherwise run `gimlet migrate`.
        migrate: bool as switch = true;
    }
}

settings! {
    /// `[listen]`: the addresses of the listeners. `None` or an empty list opens no such listener.
    ///
    /// Each address is an IP address and a port. Port 0 selects a free port; `off` disables the
    /// listener. A process opens only the listeners of its roles: connect `tcp`, `ws`; logic and
    /// business `grpc`; every role `http`, `internal` and `ops`.
    pub struct ListenConfig [listen] "listen." {
        /// TCP for clients, in gim's framing.
        tcp: Option<SocketAddr> as addr = Some(loopback(8080));
        /// WebSocket for clients, at `/ws`.
        ws: Option<SocketAddr> as addr = cfg!(feature = "ws").then(|| loopback(8081));
        /// The HTTP/JSON API (`docs/http.md`); with the role business also file upload and download.
        http: Option<SocketAddr> as addr = Some(loopback(8085));
        /// List of addresses of gRPC for clients (`LogicExt`, `BusinessExt`, `UserExt`), the same
        /// services on each.
        grpc: Vec<SocketAddr> as addrs = vec![loopback(50100), loopback(50200)];
        /// gRPC for backends and other nodes (`LogicInt`, `ConnectInt`, `BusinessInt`, `UserInt`).
        /// It acts for any user: keep it away from clients. Off loopback it needs `cluster.secret`.
        internal: Option<SocketAddr> as addr = Some(loopback(50000));
        /// Health and metrics: `/healthz`, `/readyz`, `/metrics`.
        ops: Option<SocketAddr> as addr = Some(loopback(8086));
    }
}

impl ListenConfig {
    /// Returns every listener on a free port of loopback.
    #[must_use]
    pub fn any_port() -> Self {
        Self {
            tcp: Some(loopback(0)),
            ws: cfg!(feature = "ws").then(|| loopback(0)),
            http: Some(loopback(0)),
            grpc: vec![loopback(0)],
            internal: Some(loopback(0)),
            ops: Some(loopback(0)),
        }
    }

    /// Returns the listeners that these roles open: connect has clients' sockets, logic and
    /// business have clients' gRPC, and every role has the rest.
    #[must_use]
    pub fn of(&self, roles: &NodeRoles) -> Self {
        let has = |role| roles.has(role);
        let grpc = has(NodeRole::Logic) || has(NodeRole::Business);
        Self {
            tcp: self.tcp.filter(|_| has(NodeRole::Connect)),
            ws: self.ws.filter(|_| has(NodeRole::Connect)),
            http: self.http,
            grpc: if grpc { self.grpc.clone() } else { Vec::new() },
            internal: self.internal,
            ops: self.ops,
        }
    }

    /// Returns every listener with the key that configures it.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + '_ {
        let Self {
            tcp,
            ws,
            http,
            grpc,
            internal,
            ops,
        } = self;
        let one = |key, addr: &Option<SocketAddr>| addr.map(|addr| (key, addr));
        grpc.iter()
            .map(|addr| ("listen.grpc", *addr))
            .chain(one("listen.tcp", tcp))
            .chain(one("listen.ws", ws))
            .chain(one("listen.http", http))
            .chain(one("listen.internal", internal))
            .chain(one("listen.ops", ops))
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

settings! {
    /// Proxies in front of the listeners: keys of `[listen]`.
    pub struct ProxyConfig [proxies] "listen." {
        /// Networks of the proxies in front of gimlet, for example `10.0.0.0/8,192.0.2.7`. The
        /// client addresses that they report are used for limits, the log and lock-outs; those that
        /// others report are ignored. See `docs/proxies.md#the-clients-address`.
        trusted_proxies: Vec<TrustedNetwork> as networks = Vec::new();
        /// Listeners (`tcp`, `ws`, `http`, `grpc`, `ops`) on which connections of the trusted
        /// proxies begin with a header of the PROXY protocol, version 1 or 2; one without it is
        /// refused.
        proxy_protocol: Vec<ListenerName> as choices = Vec::new();
        /// The header in which proxies that speak HTTP or gRPC name the client: `x-forwarded-for`
        /// or `forwarded` (RFC 7239). It must be the one that they write, because a client can send
        /// the other one itself.
        forwarded_header: ForwardedHeader as choice = ForwardedHeader::XForwardedFor;
    }
}

settings! {
    /// `[tls]`.
    ///
    /// See `docs/tls.md`.
    pub struct TlsConfig [tls] "tls." {
        /// PEM file of the listeners' certificate, followed by those of its CAs.
        cert: Option<String> as maybe = None;
        /// PEM file of its private key, without a password. Both files are read again on SIGHUP,
        /// and within some seconds after a change; open connections are not affected.
        key: Option<String> as maybe = None;
        /// Listeners that speak TLS once there is a certificate: `tcp`, `ws`, `http`, `grpc`,
        /// `ops`.
        listeners: Vec<ListenerName> as choices =
            vec![ListenerName::Tcp, ListenerName::Ws, ListenerName::Http, ListenerName::Grpc];
        /// Off loopback `tcp`, `ws`, `http`, `grpc` and `internal` start without TLS only if this
        /// is `true`: a proxy or a private network encrypts.
        terminated_elsewhere: bool as switch = false;
    }
}

settings! {
    /// `[business]`.
    ///
    /// The first three name a business server of your own over HTTP (`docs/business.md#over-http`);
    /// the others are for the built-in business service, except `end_expired`.
    pub struct BusinessConfig [business] "business." {
        /// The business service of a process without the role business: `grpc` (the servers of
        /// `cluster.business`) or `http` (the server of `business.url`).
        kind: BusinessKind as choice = BusinessKind::Grpc;
        /// Address of the business server, with `http`: gimlet posts its questions there. In a private
        /// network it must be allowed by `outbound.allow`.
        url: Option<String> as url = None;
        /// Secrets that sign the questions, separated by commas: `whsec_` and the base64 of 24 to 64
        /// random bytes. Each question has a signature of each secret, so that a secret can be
        /// replaced.
        secrets: Vec<SecretString> as secrets = Vec::new();
        /// Checker of verification codes: `fixed:CODE` (one code for everybody), `dev` (000000 is
        /// right for everybody, and every listener must be on loopback; see
        /// `docs/configuration.md#a-development-run`), or an `http://` address that receives `POST
        /// {"phone_number": …, "code": …}` and answers 200 (right) or 403 (wrong). Of that answer
        /// only the status counts: the body is not read, and a head above 16 KiB counts as no
        /// answer. Required for the role business, except in a run without any configuration.
        code_verifier: CodeVerifier as verifier = CodeVerifier::Unset;
        /// Lifetime of a token.
        token_ttl: Duration as duration = Duration::from_hours(90 * 24), LimitBound::not_zero();
    }
}

settings! {
    /// `[auth]`.
    ///
    /// JWTs that your backend issues (`docs/jwt.md`). With at least one key, they are accepted
    /// besides the tokens of the business service.
    pub struct AuthConfig [auth] "auth." {
        /// The audience (`aud`) that a token must name. Required with keys.
        jwt_audience: Option<String> as maybe = None;
        /// Secrets for HS256, separated by commas; each has at least 32 characters.
        jwt_secrets: Vec<SecretString> as secrets = Vec::new();
        /// PEM files of public keys, separated by commas: RSA (for RS256), P-256 (for ES256) or Ed25519
        /// (for EdDSA). The kind of a key tells its algorithm.
        jwt_public_keys: Vec<String> as list = Vec::new();
        /// File with a key set in JSON (JWKS), which may also have secrets.
        jwt_keys_file: Option<String> as maybe = None;
        /// Address of a key set in JSON (JWKS). It is loaded when a token needs it, and again after ten
        /// minutes or for an unknown key, at most once in 30 s. In a private network it must be allowed
        /// by `outbound.allow`.
        jwt_keys_url: Option<String> as url = None;
        /// Allowed difference between the clocks of this server and of the issuer; a token is accepted
        /// for that long after its `exp`.
        jwt_leeway: Duration as duration = Duration::from_secs(30);
        /// Longest time until the `exp` of a token; one that expires later is refused.
        jwt_max_lifetime: Duration as duration = Duration::from_hours(30 * 24), LimitBound::not_zero();
        /// Treats every id as that of a user, so that users can be written to before they sign in for the
        /// first time; otherwise a user exists once a token has named it.
        jwt_every_user: bool as switch = false;
    }
}

settings! {
    /// `[outbound]`.
    ///
    /// Calls of this server to others over HTTP: key sets, the business server, webhooks and push
    /// services. Redirects are not followed and proxies of the environment are not used.
    pub struct OutboundConfig [outbound] "outbound." {
        /// Networks that these calls may reach although they are not public, for example
        /// `127.0.0.1,10.0.0.0/8`. Only there `http://` is allowed; everything else needs `https://`.
        allow: Vec<TrustedNetwork> as networks = Vec::new();
        /// PEM file of CAs that are trusted besides the public ones.
        ca: Option<String> as maybe = None;
    }
}

settings! {
    /// `[http]`.
    pub struct HttpConfig [http] "http." {
        /// Prefix of the addresses of uploaded files, as clients reach them; without it, the
        /// address of the http listener.
        public_url: Option<String> as url = None;
        /// Largest upload; a larger one is answered 413.
        upload_max: u64 as bytes = 20 << 20;
        /// Allows uploads without a sign-in; in a development run they are always allowed.
        anonymous_upload: bool as switch = false;
        /// Web pages that may open a WebSocket and upload: `same` (served from the host that they
        /// call, by its `Host` header; in a development run also from this machine), `any`, or a
        /// list, for example `same,https://chat.example.com`. Clients other than browsers send no
        /// `Origin` and are not affected. Preflights (`OPTIONS`) of uploads are answered by the
        /// same list.
        origins: Vec<String> as list = vec!["same".into()];
        /// Uploads are answered 507 while the disk has less free space than this, or than twice
        /// `storage.min_free`: they stop before sends do.
        upload_min_free: u64 as bytes = 1 << 30;
        /// Bytes that a user may upload in a day; more is answered 429; 0 is unlimited. Counted by
        /// this process since its start; all uploads without a sign-in count as one user.
        upload_quota: u64 as bytes = 1 << 30;
        /// Serves the web chat at `/` of the HTTP listener; in a development run it is always
        /// served.
        chat: bool as switch = false;
        /// Keys of backends that call the HTTP API (`docs/http.md`), separated by commas; each has at
        /// least 32 characters out of letters, digits and `-._~+/=`. A program with such a key may do
        /// everything, so make it of random digits (`openssl rand -hex 32`), and use it to create keys
        /// with fewer rights (`docs/http.md`). To replace a key, set the old and the new one until every
        /// backend has the new one.
        api_keys: Vec<SecretString> as api_keys = Vec::new();
    }
}

settings! {
    /// `[files]`: uploaded files (`docs/files.md`).
    pub struct FilesConfig [files] "files." {
        /// Longest side of a picture's thumbnail in pixels; 0 makes no thumbnails and reads no
        /// dimensions.
        thumbnail_side: u32 as number = 320, LimitBound::range(0, 2_048);
        /// Place of the files: `folder` (in `data_dir`) or `s3` (a bucket of an S3-compatible store).
        store: FileStoreKind as choice = FileStoreKind::Folder;
        /// Time for which files are kept; older ones are removed. `0s` keeps them for ever.
        retention: Duration as duration = Duration::ZERO;
        /// The bucket, which must exist.
        s3_bucket: Option<String> as maybe = None;
        /// Address of the store, for example `https://minio.example.com`; without it, Amazon's in the
        /// region.
        s3_endpoint: Option<String> as url = None;
        /// The region, which is part of each signature.
        s3_region: String as text = "us-east-1".into();
        /// Id of the access key.
        s3_access_key: Option<String> as maybe = None;
        /// Secret of the access key.
        s3_secret_key: Option<SecretString> as secret = None;
        /// Beginning of the names of objects: letters, digits, `-` and `_`, with `/` between and at the
        /// end.
        s3_prefix: String as text = "files/".into();
        /// Puts the bucket into the host name (`https://BUCKET.s3.example.com`) instead of the path.
        s3_bucket_in_host: bool as switch = false;
        /// Allows an `s3_endpoint` without TLS, for a store in a private network.
        s3_allow_http: bool as switch = false;
        /// Address of a scanner, which is asked before a file is stored. Addresses that are not public
        /// need `outbound.allow`.
        scan_url: Option<String> as url = None;
        /// Secret that signs the requests to the scanner: `whsec_` and the base64 of 24 to 64 bytes
        /// (`echo whsec_$(openssl rand -base64 32)`).
        scan_secret: Option<SecretString> as secret = None;
        /// Time within which the scanner's verdict counts.
        scan_timeout: Duration as duration = Duration::from_secs(10), LimitBound::range(100, 240_000);
        /// The decision without a verdict: `closed` refuses the file, `open` stores it.
        scan_fail: WebhookFailure as choice = WebhookFailure::Closed;
    }
}

settings! {
    /// `[compat]`.
    pub struct CompatConfig [compat] "compat." {
        /// Issues the token `0`, and accepts it for every existing user on every device, as gim
        /// did; for gim's old test clients only.
        fixed_token: bool as switch = false;
        /// Sends one frame at a time to TCP clients without a protocol version, which parse one
        /// frame per read. Turn it off for a fleet whose clients parse streams.
        tcp_pacing: bool as switch = true;
    }
}

settings! {
    /// `[policy]`: rules that each deployment chooses.
    pub struct PolicyConfig [policy] "policy." {
        /// Users who may send direct messages to a user: `anyone` or `friends`.
        direct: DirectPolicy as choice = DirectPolicy::Anyone;
        /// Users who may add a user to a group: `anyone` or `friends`. Members of a group see each
        /// other's profiles.
        group_add: GroupAdd as choice = GroupAdd::Anyone;
        /// Senders that may push to a room: `anyone` or `business` (the backend, through
        /// `LogicInt`); others get code 7.
        room: RoomPush as choice = RoomPush::Anyone;
        /// Start of a SYNC from seq 0: `all` (everything that is kept), `device_ack` (the last ack
        /// of this device) or `user_ack` (the highest ack of the user's devices, gim's rule).
        sync_from_zero: SyncFromZero as choice = SyncFromZero::All;
    }
}

settings! {
    /// `[limits]`: the limits of the node and of the listeners.
    ///
    /// See `docs/operations.md#limits` for the effects of all limits.
    pub struct LimitsConfig [limits] "limits." {
        /// Maximum number of client connections; those beyond it are refused. 0 means as many as
        /// the descriptor limit allows: 40 % of 1,024, 52 % of 4,096, 72 % of 65,536; the rest is
        /// for gRPC, files and storage. Any other number is lowered if the descriptor limit
        /// requires it.
        max_connections: usize as number = 0;
        /// Maximum number of connections from one address; those beyond it are refused. Loopback,
        /// where a proxy represents many clients, is not counted. 0 is unlimited.
        per_address: usize as number = 1_000;
        /// Maximum number of devices that one address may register per second, with bursts of ten
        /// times as many. Clients behind a proxy on this machine together have ten times this
        /// limit. Beyond it `RegisterDevice` is refused with code 8. 0 is unlimited.
        device_registrations: u32 as number = 20;
        /// A connection without a packet for this long is closed; a WebSocket connection one minute
        /// later.
        idle: Duration as duration = Duration::from_mins(11), LimitBound::not_zero();
        /// A connection that sends nothing after connecting is closed after this time.
        silent_before_sign_in: Duration as duration = Duration::from_secs(10), LimitBound::not_zero();
        /// A client that accepts none of the data written to it for this long is closed with 4102;
        /// undelivered messages remain in its inbox.
        stuck: Duration as duration = Duration::from_mins(2), LimitBound::not_zero();
        /// A WebSocket client that received nothing for this long gets a ping, because proxies
        /// close silent connections (nginx after 60 s). `0s` means never.
        ws_silence: Duration as duration = Duration::from_secs(50);
        /// System buffer of one client connection over TCP or WebSocket, and of an event stream, in each
        /// direction; Linux allocates twice that. A smaller buffer is slower over long distances: 64 KiB allow 640
        /// KB a second at 100 ms.
        socket_buffer: usize as bytes = 64 << 10, LimitBound::range(16 << 10, 16 << 20);
        with {
            /// Limits that core applies.
            node: Limits = Limits::default();
        }
    }
}

settings_of_core! {
    Limits [limits.node]

    /// `[business]`: settings of the role connect.
    SIGN_IN_SETTINGS "business." {
        end_expired: switch;
    }

    /// `[limits]`: the limits that core applies.
    NODE_SETTINGS "limits." {
        failed_sign_ins: number;
        content: bytes;
        mentions: number;
        group_members: number;
        group_adds: number;
        new_devices: number;
        group_backlog: number;
        node_backlog: number;
        send_rate: number;
        send_burst: number;
        send_cost_members: number;
        request_rate: number;
        request_burst: number;
        send_queue: number;
        send_queue_bytes: bytes;
        send_deadline: duration;
        key_window: duration;
        legacy_window: duration;
        page_items: number;
        page_bytes: bytes;
        parallel_reads: number;
        outbox_bytes: bytes;
        sync_wait: duration;
        ack_flush: duration;
        profile_ttl: duration;
        profiles: number;
        list_page: number;
        keep_entries: number;
        webhook_events: number;
        webhook_dead_letters: number;
    }

    not settings {
        client_id batch_sends batch_entries batch_bytes parked_entries parked_bytes parked_wait
        head_check roster_members zombies lease
    }
}

settings_of_core! {
    RoomBounds [rooms]

    /// `[rooms]`: the history that a room keeps.
    ///
    /// The history that a room keeps for later subscribers. When any of these limits is exceeded,
    /// the oldest messages are removed. Rooms are never stored durably: with `memory` and `sled`
    /// they live in this process, with `mysql` in Redis.
    ROOM_SETTINGS "rooms." {
        messages: number;
        bytes: bytes;
        age: duration;
        total_bytes: bytes;
    }

    not settings {}
}

settings! {
    /// `[stop]`.
    pub struct StopConfig [stop] "stop." {
        /// Time for which the node keeps serving between the time when `/readyz` turns 503 and the
        /// time when it stops accepting connections: the time that a load balancer needs to notice.
        delay: Duration as duration = Duration::ZERO;
        /// Maximum time for draining after SIGTERM or Ctrl-C, after which open connections are
        /// closed by force. A second signal, half a second or more later, ends the process at once.
        grace: Duration as duration = Duration::from_secs(10);
        /// Clients are told to reconnect after a random part of this time.
        come_back: Duration as duration = Duration::from_secs(3);
    }
}

settings! {
    /// `[log]`.
    pub struct LogConfig [log] "log." {
        /// Format of the lines on standard error: `text` or `json`.
        format: LogFormat as choice = LogFormat::Text;
        /// Lines that are written: `error`, `warn`, `info`, `debug`, `trace` (the last two apply to
        /// gimlet only; the libraries below it stay at `info`), or a filter, for example
        /// `info,gimlet_core=debug,h2=debug`. An unknown level is refused with a suggestion.
        /// Content, tokens, codes and phone numbers are never logged. Read again on SIGHUP.
        level: String as text = "info".into();
        /// Logs the steps of messages on their path (`docs/operations.md#follow-a-message`), for the
        /// users whose id is a multiple of this: `1000` traces one user of 1,000, `1` every user, `0`
        /// none; whatever `level` is. Read again on SIGHUP.
        sample: u64 as number = 0;
    }
}

settings! {
    /// `[cluster]`: other nodes.
    pub struct ClusterConfig [cluster] "cluster." {
        /// Secret that callers of the internal services send as metadata `authorization: Bearer
        /// SECRET`; the same on all nodes. Required when `listen.internal` is not on loopback.
        secret: Option<SecretString> as secret = None;
        /// Address (`host:port`) at which other nodes reach this node's internal listener; without
        /// it, the listener's own address. Required when that is `0.0.0.0`.
        advertise: Option<String> as maybe = None;
        /// Internal listeners of the logic nodes, separated by commas, if this process does not
        /// have that role.
        logic: Vec<String> as list = Vec::new();
        /// Internal listeners of the business nodes, or of your own business server, separated by
        /// commas, if this process does not have that role.
        business: Vec<String> as list = Vec::new();
        /// PEM file of the CAs that signed the nodes' certificates. Set together with `tls_cert`
        /// and `tls_key` it turns on TLS between nodes: `listen.internal` speaks TLS, and other
        /// nodes and the business server are called by TLS, except addresses that begin with
        /// `http://`. The files are read again as that of `tls.cert`.
        tls_ca: Option<String> as maybe = None;
        /// PEM file of this node's certificate, followed by those of its CAs.
        tls_cert: Option<String> as maybe = None;
        /// PEM file of its private key.
        tls_key: Option<String> as maybe = None;
        /// A name that the certificate of every node has; without it the certificate must have the
        /// host of the address at which the node is called.
        tls_name: Option<String> as maybe = None;
        /// Requires callers of `listen.internal`, other nodes and backends, to present a
        /// certificate that a CA of `tls_ca` has signed.
        tls_mutual: bool as switch = false;
    }
}

settings! {
    /// `[push]`.
    ///
    /// Push notifications to devices that are not connected (`docs/push.md`). A push service is used
    /// once its key is set; all nodes must have the same settings.
    pub struct PushConfig [push] "push." {
        /// Allows notifications to show the sender's name and the text of a message where the client
        /// asks for it (`show_content`). Otherwise they only tell that there is a message, whatever
        /// clients ask for.
        show_content: bool as switch = false;
        /// Language of notifications for clients that name none, or one that gimlet has no texts
        /// in: `en`, `zh` or `zh-Hant`.
        locale: String as text = "en".into();
        /// Time for which a push service keeps a notification for a device that it does not reach.
        ttl: Duration as duration = Duration::from_hours(7 * 24),
            LimitBound::range(60_000, 28 * 86_400_000);
        /// Time for which a notification is tried again while a push service fails; then its event
        /// becomes a dead letter.
        retry_for: Duration as duration = Duration::from_hours(1), LimitBound::not_zero();
        with {
            /// Apple's devices.
            apns: ApnsConfig = ApnsConfig::default();
            /// Apps that are registered with Firebase.
            fcm: FcmConfig = FcmConfig::default();
            /// Browsers.
            webpush: WebPushConfig = WebPushConfig::default();
        }
    }
}

settings! {
    /// `[push.apns]`.
    ///
    /// Apple Push Notification service, with a key of your team (`docs/push.md#apns`).
    pub struct ApnsConfig [push.apns] "push.apns." {
        /// The key: the `.p8` file that Apple's developer site made. Without it APNs is not used.
        key: Option<String> as maybe = None;
        /// Id of the key, as the site shows it. Required with the key.
        key_id: Option<String> as maybe = None;
        /// Id of the team. Required with the key.
        team_id: Option<String> as maybe = None;
        /// Bundle ids of the apps, separated by commas; the first is used for clients that name
        /// none. Required with the key.
        topics: Vec<String> as list = Vec::new();
        /// Address of the service.
        url: Option<String> as url = Some("https://api.push.apple.com".into());
        /// Address of the service for apps that were signed for development.
        sandbox_url: Option<String> as url = Some("https://api.sandbox.push.apple.com".into());
    }
}

settings! {
    /// `[push.fcm]`.
    ///
    /// Firebase Cloud Messaging, HTTP v1, with a service account (`docs/push.md#fcm`).
    pub struct FcmConfig [push.fcm] "push.fcm." {
        /// The JSON file of the service account, which also names the project. Without it FCM is not
        /// used.
        service_account: Option<String> as maybe = None;
        /// Address of the service.
        url: Option<String> as url = Some("https://fcm.googleapis.com".into());
    }
}

settings! {
    /// `[push.webpush]`.
    ///
    /// Web Push to browsers, with a key of this server (`docs/push.md#web-push`).
    pub struct WebPushConfig [push.webpush] "push.webpush." {
        /// PEM file of the VAPID key; `gimlet push keys` makes one. Subscriptions of browsers are
        /// bound to it, so keep it. Without it Web Push is not used.
        key: Option<String> as maybe = None;
        /// Address at which a push service reaches you: `mailto:ops@example.com`, or an `https://`
        /// address. Required with the key.
        contact: Option<String> as maybe = None;
        /// Hosts of browsers' push services, separated by commas; `*.` at the beginning stands for
        /// any labels. Subscriptions at other hosts are refused, because a client could name any.
        hosts: Vec<String> as list = vec![
            "fcm.googleapis.com".into(),
            "*.push.services.mozilla.com".into(),
            "web.push.apple.com".into(),
            "*.notify.windows.com".into(),
        ];
    }
}

/// All settings, in the order of the file.
pub(super) const GROUPS: &[SettingGroup<Config>] = &[
    Config::GROUP,
    StorageConfig::GROUP,
    ListenConfig::GROUP,
    ProxyConfig::GROUP,
    TlsConfig::GROUP,
    BusinessConfig::GROUP,
    SIGN_IN_SETTINGS,
    AuthConfig::GROUP,
    OutboundConfig::GROUP,
    HttpConfig::GROUP,
    FilesConfig::GROUP,
    CompatConfig::GROUP,
    PolicyConfig::GROUP,
    ROOM_SETTINGS,
    LimitsConfig::GROUP,
    NODE_SETTINGS,
    StopConfig::GROUP,
    LogConfig::GROUP,
    ClusterConfig::GROUP,
    PushConfig::GROUP,
    ApnsConfig::GROUP,
    FcmConfig::GROUP,
    WebPushConfig::GROUP,
];

/// The repeated sections, after all other settings.
pub(super) const LISTS: &[&dyn ItemList<Config>] = &[&RepeatedSection {
    name: "webhooks",
    group: WebhookConfig::GROUP,
    items: |config: &Config| &config.webhooks,
    items_mut: |config: &mut Config| &mut config.webhooks,
}];

/// Returns all settings, in the order of the file.
pub(super) fn all_settings() -> impl Iterator<Item = &'static ConfigSetting> {
    GROUPS.iter().flat_map(|group| group.settings)
}
