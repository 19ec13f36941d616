-- Events of hooks (webhooks, push), written in the transaction of the change that they are about.
-- Each statement may be repeated.

-- The events that wait. A position is taken after the change has locked its receiver, so the events of
-- one receiver are in the order of their changes. TiDB hands out ascending numbers only without a cache
-- in each server.
CREATE TABLE event_outbox (
    position   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    hook       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at BIGINT NOT NULL,
    record     MEDIUMBLOB NOT NULL,
    PRIMARY KEY (position),
    KEY event_outbox_hook (hook, position)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin /*T![auto_id_cache] AUTO_ID_CACHE 1 */;

-- The events that were given up, by their former position.
CREATE TABLE event_dead_letter (
    hook       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    position   BIGINT UNSIGNED NOT NULL,
    created_at BIGINT NOT NULL,
    died_at    BIGINT NOT NULL,
    attempts   INT UNSIGNED NOT NULL,
    error      VARCHAR(500) NOT NULL,
    record     MEDIUMBLOB NOT NULL,
    PRIMARY KEY (hook, position)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The node that delivers each hook; an empty holder is none. `beat` counts the renewals.
CREATE TABLE event_lease (
    hook       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    generation BIGINT UNSIGNED NOT NULL,
    beat       BIGINT UNSIGNED NOT NULL,
    holder     VARCHAR(255) NOT NULL,
    PRIMARY KEY (hook)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
