//! The table of all keys: the name of each, and how it is read into the configuration and shown
//! from it.

use std::fmt::Write as _;

use super::{Config, codec};

/// One key.
pub(super) struct ConfigKey {
    /// Its name in the file, with its section: `listen.tcp`.
    pub(super) key: &'static str,
    /// Reads it from text.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    /// `true` if its values must never be shown, not even a wrong one.
    pub(super) secret: bool,
    /// Shows it, secrets masked.
    pub(super) get: fn(&Config) -> String,
    /// Returns whether it has the same value in both.
    pub(super) same: fn(&Config, &Config) -> bool,
}

macro_rules! settings {
    ($($key:literal: $codec:ident $($field:ident).+;)+) => {
        /// The keys, in the order of `gimlet.toml`.
        pub(super) const SETTINGS: &[ConfigKey] = &[$(ConfigKey {
            key: $key,
            set: |config, text| {
                config.$($field).+ = codec::$codec::parse(text)?;
                Ok(())
            },
            secret: matches!(stringify!($codec).as_bytes(), b"secret" | b"secret_url" | b"verifier"),
            get: |config| codec::$codec::show(&config.$($field).+),
            same: |one, other| one.$($field).+ == other.$($field).+,
        }),+];
    };
}

settings! {
    "data_dir": path data_dir;
    "roles": roles roles;
    "storage.kind": choice storage.kind;
    "storage.durability": choice storage.durability;
    "storage.min_free": bytes storage.min_free;
    "storage.cache": bytes storage.cache;
    "storage.mysql_url": secret_url storage.mysql_url;
    "storage.redis_url": secret_url storage.redis_url;
    "storage.mysql_ca": maybe storage.mysql_ca;
    "storage.redis_ca": maybe storage.redis_ca;
    "storage.mysql_connections": number storage.mysql_connections;
    "storage.mysql_parallel_batches": number storage.mysql_parallel_batches;
    "storage.relaxed_durability": switch storage.relaxed_durability;
    "storage.redis_prefix": text storage.redis_prefix;
    "storage.migrate": switch storage.migrate;
    "listen.tcp": addr listen.tcp;
    "listen.ws": addr listen.ws;
    "listen.http": addr listen.http;
    "listen.grpc": addrs listen.grpc;
    "listen.internal": addr listen.internal;
    "listen.ops": addr listen.ops;
    "listen.trusted_proxies": networks proxies.trusted;
    "listen.proxy_protocol": choices proxies.protocol;
    "listen.forwarded_header": choice proxies.header;
    "tls.cert": maybe tls.cert;
    "tls.key": maybe tls.key;
    "tls.listeners": choices tls.listeners;
    "tls.terminated_elsewhere": switch tls.terminated_elsewhere;
    "business.code_verifier": verifier business.code_verifier;
    "business.token_ttl": duration business.token_ttl;
    "business.end_expired": switch limits.node.end_expired;
    "http.public_url": url http.public_url;
    "http.upload_max": bytes http.upload_max;
    "http.anonymous_upload": switch http.anonymous_upload;
    "http.origins": list http.origins;
    "http.upload_min_free": bytes http.upload_min_free;
    "http.upload_quota": bytes http.upload_quota;
    "compat.fixed_token": switch compat.fixed_token;
    "compat.tcp_pacing": switch compat.tcp_pacing;
    "policy.direct": choice policy.direct;
    "policy.group_add": choice policy.group_add;
    "policy.sync_from_zero": choice policy.sync_from_zero;
    "policy.room": choice policy.room;
    "rooms.messages": number rooms.messages;
    "rooms.bytes": bytes rooms.bytes;
    "rooms.age": duration rooms.age;
    "rooms.total_bytes": bytes rooms.total_bytes;
    "limits.max_connections": number limits.max_connections;
    "limits.per_address": number limits.per_address;
    "limits.device_registrations": number limits.device_registrations;
    "limits.idle": duration limits.idle;
    "limits.silent_before_sign_in": duration limits.silent_before_sign_in;
    "limits.stuck": duration limits.stuck;
    "limits.ws_silence": duration limits.ws_silence;
    "limits.socket_buffer": bytes limits.socket_buffer;
    "limits.failed_sign_ins": number limits.node.failed_sign_ins;
    "limits.content": bytes limits.node.content;
    "limits.mentions": number limits.node.mentions;
    "limits.group_members": number limits.node.group_members;
    "limits.group_adds": number limits.node.group_adds;
    "limits.group_backlog": number limits.node.group_backlog;
    "limits.node_backlog": number limits.node.node_backlog;
    "limits.send_rate": number limits.node.send_rate;
    "limits.send_burst": number limits.node.send_burst;
    "limits.request_rate": number limits.node.request_rate;
    "limits.request_burst": number limits.node.request_burst;
    "limits.send_queue": number limits.node.send_queue;
    "limits.send_queue_bytes": bytes limits.node.send_queue_bytes;
    "limits.send_deadline": duration limits.node.send_deadline;
    "limits.key_window": duration limits.node.key_window;
    "limits.legacy_window": duration limits.node.legacy_window;
    "limits.page_items": number limits.node.page_items;
    "limits.page_bytes": bytes limits.node.page_bytes;
    "limits.parallel_reads": number limits.node.parallel_reads;
    "limits.outbox_bytes": bytes limits.node.outbox_bytes;
    "limits.sync_wait": duration limits.node.sync_wait;
    "limits.ack_flush": duration limits.node.ack_flush;
    "limits.profile_ttl": duration limits.node.profile_ttl;
    "limits.profiles": number limits.node.profiles;
    "limits.list_page": number limits.node.list_page;
    "limits.keep_entries": number limits.node.keep_entries;
    "stop.delay": duration stop.delay;
    "stop.grace": duration stop.grace;
    "stop.come_back": duration stop.come_back;
    "log.format": choice log.format;
    "log.level": text log.level;
    "log.sample": number log.sample;
    "cluster.secret": secret cluster.secret;
    "cluster.advertise": maybe cluster.advertise;
    "cluster.logic": list cluster.logic;
    "cluster.business": list cluster.business;
    "cluster.tls_ca": maybe cluster.tls_ca;
    "cluster.tls_cert": maybe cluster.tls_cert;
    "cluster.tls_key": maybe cluster.tls_key;
    "cluster.tls_name": maybe cluster.tls_name;
    "cluster.tls_mutual": switch cluster.tls_mutual;
}

impl Config {
    /// Returns the keys whose values differ in another configuration.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        SETTINGS
            .iter()
            .filter(|setting| !(setting.same)(self, other))
            .map(|setting| setting.key)
            .collect()
    }

    /// Returns the effective values as TOML, secrets masked: `gimlet check-config`.
    #[must_use]
    pub fn masked(&self) -> String {
        let mut text = String::new();
        let mut open = "";
        for setting in SETTINGS {
            let (section, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            if section != open {
                let _ = write!(text, "\n[{section}]\n");
                open = section;
            }
            let value = (setting.get)(self);
            let _ = writeln!(text, "{name} = {}", toml::Value::String(value));
        }
        text
    }
}
