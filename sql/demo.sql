-- A few users and a group for trying things out:  mysql gimlet < sql/demo.sql
-- The users sign in with their phone number and the development code. It may run more than once.

INSERT INTO account (user_id, phone, nickname, sex, avatar_url, extra, created_at, updated_at)
VALUES (1, '+10000000001', 'Alice', 2, '', '', 0, 0),
       (2, '+10000000002', 'Bob', 1, '', '', 0, 0),
       (3, '+10000000003', 'Carol', 2, '', '', 0, 0)
ON DUPLICATE KEY UPDATE user_id = user_id;

INSERT INTO friend (user_id, friend_id, agreed, remarks, extra, updated_at)
VALUES (1, 2, 1, '', '', 0), (2, 1, 1, '', '', 0)
ON DUPLICATE KEY UPDATE user_id = user_id;

INSERT INTO group_info (group_id, name, avatar_url, introduction, extra, members, version,
                        created_at, updated_at)
VALUES (1, 'Demo', '', 'Alice, Bob and Carol', '', 3, 1, 0, 0)
ON DUPLICATE KEY UPDATE group_id = group_id;

INSERT INTO group_member (group_id, user_id, role, remarks, extra)
VALUES (1, 1, 1, '', ''), (1, 2, 2, '', ''), (1, 3, 2, '', '')
ON DUPLICATE KEY UPDATE group_id = group_id;

-- New ids start after these.
UPDATE counter SET value = GREATEST(value, 3) WHERE scope = 1;
UPDATE counter SET value = GREATEST(value, 1) WHERE scope = 3;
