-- Users that JWTs of a backend name: their profile, and the revocation of their tokens. A time of 0 is
-- none; revoked holds 40 bytes for each revoked token: the SHA-256 of its id, and its expiry (big-endian).
-- Each statement may be repeated.

CREATE TABLE jwt_user (
    user_id       BIGINT UNSIGNED NOT NULL,
    nickname      VARCHAR(255) NOT NULL,
    avatar_url    VARCHAR(512) NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    issued_before BIGINT NOT NULL,
    revoked       VARBINARY(2560) NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
