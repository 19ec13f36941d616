-- gimlet's durable tables. Only what MySQL 8, MariaDB 10.6+ and TiDB accept alike.
-- Ids are 1 .. 2^63-1; times are milliseconds since 1970 UTC; texts are compared by their bytes.

-- Facts about the whole store: the epoch of its history.
CREATE TABLE meta (
    name  VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    value BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The last number handed out: 1 users, 2 devices, 3 groups, 4 fan-out jobs.
CREATE TABLE counter (
    scope TINYINT UNSIGNED NOT NULL,
    value BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (scope)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO counter (scope, value) VALUES (1, 0), (2, 0), (3, 0), (4, 0);

-- Where each inbox stands. The row's lock orders all senders to that user.
CREATE TABLE inbox_head (
    user_id BIGINT UNSIGNED NOT NULL,
    seq     BIGINT UNSIGNED NOT NULL,
    floor   BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The entries. Either `body` holds the message, or `shared` names its row in `message`.
CREATE TABLE inbox (
    user_id BIGINT UNSIGNED NOT NULL,
    seq     BIGINT UNSIGNED NOT NULL,
    shared  BINARY(16) NULL,
    body    MEDIUMBLOB NULL,
    PRIMARY KEY (user_id, seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Messages of three and more recipients, stored once. `refs` counts the entries that are, or by
-- an open job will be, in inboxes; the row goes with the last of them.
CREATE TABLE message (
    message_id BINARY(16) NOT NULL,
    refs       BIGINT NOT NULL,
    body       MEDIUMBLOB NOT NULL,
    PRIMARY KEY (message_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which sends were seen. A row with seq 0 is nobody's answer yet.
CREATE TABLE send_key (
    id         VARBINARY(255) NOT NULL,
    digest     BINARY(16) NOT NULL,
    message_id BINARY(16) NOT NULL,
    seq        BIGINT UNSIGNED NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    KEY send_key_expiry (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Open fan-out jobs; numbers are never used again. `done` of `total` recipients have their entry.
CREATE TABLE fanout_job (
    job        BIGINT UNSIGNED NOT NULL,
    group_id   BIGINT UNSIGNED NOT NULL,
    generation BIGINT UNSIGNED NOT NULL,
    message_id BINARY(16) NOT NULL,
    done       BIGINT UNSIGNED NOT NULL,
    total      BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (job),
    KEY fanout_job_group (group_id, job)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A job's recipients from `start` on, in order: 8 bytes each, big-endian, one part a row.
CREATE TABLE fanout_part (
    job   BIGINT UNSIGNED NOT NULL,
    start BIGINT UNSIGNED NOT NULL,
    users MEDIUMBLOB NOT NULL,
    PRIMARY KEY (job, start)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Groups (GROUPS is a reserved word of MySQL 8).
CREATE TABLE group_info (
    group_id     BIGINT UNSIGNED NOT NULL,
    name         MEDIUMTEXT NOT NULL,
    avatar_url   MEDIUMTEXT NOT NULL,
    introduction MEDIUMTEXT NOT NULL,
    extra        MEDIUMTEXT NOT NULL,
    members      BIGINT UNSIGNED NOT NULL,
    version      BIGINT UNSIGNED NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (group_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who is in a group: role 1 admin, 2 member.
CREATE TABLE group_member (
    group_id BIGINT UNSIGNED NOT NULL,
    user_id  BIGINT UNSIGNED NOT NULL,
    role     TINYINT UNSIGNED NOT NULL,
    remarks  MEDIUMTEXT NOT NULL,
    extra    MEDIUMTEXT NOT NULL,
    PRIMARY KEY (group_id, user_id),
    KEY group_member_user (user_id, group_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What a user keeps of another: agreed 0 asked, 1 friends.
CREATE TABLE friend (
    user_id    BIGINT UNSIGNED NOT NULL,
    friend_id  BIGINT UNSIGNED NOT NULL,
    agreed     TINYINT UNSIGNED NOT NULL,
    remarks    MEDIUMTEXT NOT NULL,
    extra      MEDIUMTEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, friend_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Devices: registered, signed in, or both. `generation` counts the sign-ins.
CREATE TABLE device (
    device_id      BIGINT UNSIGNED NOT NULL,
    registered     TINYINT UNSIGNED NOT NULL,
    kind           INT NOT NULL,
    brand          MEDIUMTEXT NOT NULL,
    model          MEDIUMTEXT NOT NULL,
    system_version MEDIUMTEXT NOT NULL,
    sdk_version    MEDIUMTEXT NOT NULL,
    user_id        BIGINT UNSIGNED NOT NULL,
    generation     BIGINT UNSIGNED NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (device_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How far each device has acked a user's inbox.
CREATE TABLE device_ack (
    user_id   BIGINT UNSIGNED NOT NULL,
    device_id BIGINT UNSIGNED NOT NULL,
    upto      BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (user_id, device_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Users of the built-in business service.
CREATE TABLE account (
    user_id    BIGINT UNSIGNED NOT NULL,
    phone      VARBINARY(255) NOT NULL,
    nickname   VARCHAR(512) NOT NULL,
    sex        INT NOT NULL,
    avatar_url MEDIUMTEXT NOT NULL,
    extra      MEDIUMTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (user_id),
    UNIQUE KEY account_phone (phone),
    KEY account_nickname (nickname(32))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The one sign-in token of each device, as its SHA-256.
CREATE TABLE device_token (
    device_id  BIGINT UNSIGNED NOT NULL,
    user_id    BIGINT UNSIGNED NOT NULL,
    hash       BINARY(32) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (device_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
