-- Addresses of devices at push services (APNs, FCM, Web Push), which notify devices that are not
-- connected. Each statement may be repeated.

-- Users that have registered an address. The row's lock orders the registrations of a user.
CREATE TABLE push_user (
    user_id BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One address of a user on a device: provider 1 APNs, 2 FCM, 3 Web Push. `token` is the device token
-- or the URL of a browser's subscription, `topic` and `sandbox` belong to APNs, `public_key` and
-- `auth_secret` to Web Push. `address_hash` is the SHA-256 of the provider's name, a colon and
-- `token`: an address belongs to one user on one device.
CREATE TABLE push_token (
    user_id       BIGINT UNSIGNED NOT NULL,
    device_id     BIGINT UNSIGNED NOT NULL,
    address_hash  BINARY(32) NOT NULL,
    provider      TINYINT UNSIGNED NOT NULL,
    token         VARBINARY(4096) NOT NULL,
    topic         VARBINARY(255) NOT NULL,
    sandbox       TINYINT UNSIGNED NOT NULL,
    public_key    VARBINARY(255) NOT NULL,
    auth_secret   VARBINARY(255) NOT NULL,
    shows_content TINYINT UNSIGNED NOT NULL,
    locale        VARBINARY(64) NOT NULL,
    registered_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id),
    UNIQUE KEY push_token_address (address_hash)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
