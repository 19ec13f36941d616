-- A token belongs to a user on a device: device ids prove nothing, so another user who signs in under
-- the same id takes no token away. A new table, because not every dialect can change a primary key.
-- Each statement may be repeated.

CREATE TABLE user_token (
    device_id  BIGINT UNSIGNED NOT NULL,
    user_id    BIGINT UNSIGNED NOT NULL,
    hash       BINARY(32) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (device_id, user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Tokens that were given out before stay good.
INSERT INTO user_token (device_id, user_id, hash, expires_at)
    SELECT device_id, user_id, hash, expires_at FROM device_token;

DELETE FROM device_token;
