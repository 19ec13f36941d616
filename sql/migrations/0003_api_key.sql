-- API keys of backends. Only the SHA-256 of a key is stored; its id is the first 63 bits of that hash.
-- Times are milliseconds since 1970 UTC, and 0 is none. Each statement may be repeated.

CREATE TABLE api_key (
    key_id     BIGINT UNSIGNED NOT NULL,
    hash       BINARY(32) NOT NULL,
    name       VARCHAR(255) NOT NULL,
    scopes     VARCHAR(1024) NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    PRIMARY KEY (key_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
