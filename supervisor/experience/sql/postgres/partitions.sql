-- name: days
-- That have a table of their own.
SELECT to_date(right(child.relname, 8), 'YYYYMMDD')
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass('ml_experience_replay') AND child.relname ~ '^ml_experience_replay_[0-9]{{8}}$'
ORDER BY 1

-- name: make
-- A day's table. What the net holds of the day moves along: while it is there the day cannot be taken in.
CREATE TABLE {table} (LIKE ml_experience_replay INCLUDING DEFAULTS INCLUDING STORAGE);
WITH moved AS (
    DELETE FROM ml_experience_replay_default WHERE "timestamp" >= {begin} AND "timestamp" < {end} RETURNING *
)
INSERT INTO {table} SELECT * FROM moved;
ALTER TABLE ml_experience_replay ATTACH PARTITION {table} FOR VALUES FROM ({begin}) TO ({end})

-- name: drop
-- Readers that are at it are waited for.
DROP TABLE {table}

-- name: in_net
SELECT ("timestamp" AT TIME ZONE 'UTC')::date, count(*) FROM ml_experience_replay_default GROUP BY 1 ORDER BY 1
