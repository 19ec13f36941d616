-- Bans of users: their tokens are not valid while there is a row.
-- Each statement may be repeated.

CREATE TABLE user_ban (
    user_id   BIGINT UNSIGNED NOT NULL,
    reason    VARCHAR(1024) NOT NULL,
    banned_at BIGINT NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
