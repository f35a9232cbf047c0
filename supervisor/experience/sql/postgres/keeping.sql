-- name: recent
SELECT archetype || '/' || model_type, count(*) FROM ml_experience_replay
WHERE "timestamp" >= to_timestamp(%s::numeric / 1000000) GROUP BY 1

-- name: held
SELECT archetype || '/' || model_type,
    sum(octet_length(state) + octet_length(next_state) + octet_length(controls) + 110)::bigint
FROM ml_experience_replay GROUP BY 1

-- name: size
-- A partitioned table has its bytes in its parts.
SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint FROM pg_partition_tree('ml_experience_replay')

-- name: size_plain
SELECT pg_total_relation_size('ml_experience_replay')

-- name: quarantine
SELECT reason, count(*) FROM ml_experience_quarantine GROUP BY 1

-- name: days
SELECT (extract(epoch FROM date_trunc('day', "timestamp", 'UTC')) * 1000000)::bigint, count(*)
FROM ml_experience_replay
WHERE archetype = %s AND model_type = %s AND "timestamp" < to_timestamp(%s::numeric / 1000000)
    AND (txid, id) <= (%s::xid8, %s)
GROUP BY 1 ORDER BY 1

-- name: read
-- Ordered by the columns themselves, as the index is, and not by what is made of them above.
SELECT txid::text::bigint, id, (extract(epoch FROM "timestamp") * 1000000)::bigint, state, action, controls, reward,
    next_state, done, priority, episode, step, version
FROM ml_experience_replay
WHERE archetype = %s AND model_type = %s
    AND "timestamp" >= to_timestamp(%s::numeric / 1000000) AND "timestamp" < to_timestamp(%s::numeric / 1000000)
    AND (txid, id) > (%s::xid8, %s) AND (txid, id) <= (%s::xid8, %s)
ORDER BY ml_experience_replay.txid, ml_experience_replay.id LIMIT %s

-- name: edge
-- Where the last of the first rows of a span stands.
SELECT txid::text::bigint, id FROM (
    SELECT txid, id FROM ml_experience_replay
    WHERE archetype = %s AND model_type = %s
        AND "timestamp" >= to_timestamp(%s::numeric / 1000000) AND "timestamp" < to_timestamp(%s::numeric / 1000000)
        AND (txid, id) > (%s::xid8, %s) AND (txid, id) <= (%s::xid8, %s)
    ORDER BY txid, id LIMIT %s
) AS first_rows
ORDER BY first_rows.txid DESC, first_rows.id DESC LIMIT 1

-- name: remove
DELETE FROM ml_experience_replay
WHERE archetype = %s AND model_type = %s
    AND "timestamp" >= to_timestamp(%s::numeric / 1000000) AND "timestamp" < to_timestamp(%s::numeric / 1000000)
    AND (txid, id) > (%s::xid8, %s) AND (txid, id) <= (%s::xid8, %s)

-- name: alone
SELECT pg_try_advisory_lock(%s)

-- name: not_alone
SELECT pg_advisory_unlock(%s)

-- name: hold_readers
-- Who notes a place waits until the rows are gone, and counts what is left.
LOCK TABLE ml_experience_readers IN SHARE ROW EXCLUSIVE MODE

-- name: slow_readers
SELECT EXISTS (
    SELECT 1 FROM ml_experience_readers
    WHERE archetype = %s AND model_type = %s AND seen_at >= to_timestamp(%s::numeric / 1000000)
        AND (txid, row_id) < (%s, %s)
)

-- name: forget_batches
DELETE FROM ml_experience_batches WHERE (client, key) IN (
    SELECT client, key FROM ml_experience_batches WHERE stored_at < to_timestamp(%s::numeric / 1000000) LIMIT %s
)

-- name: forget_quarantine
DELETE FROM ml_experience_quarantine WHERE id IN (
    SELECT id FROM ml_experience_quarantine
    WHERE "timestamp" < to_timestamp(%s::numeric / 1000000) ORDER BY id LIMIT %s
)

-- name: forget_parcels
DELETE FROM ml_experience_batches WHERE client = %s AND starts_with(key, %s)

-- name: part_of_a_day
-- The table that has exactly the rows of a stretch of time, where the layout has one.
SELECT part.oid::regclass::text FROM pg_inherits
JOIN pg_class AS part ON part.oid = inhrelid
WHERE inhparent = 'ml_experience_replay'::regclass
    AND pg_get_expr(part.relpartbound, part.oid) = format('FOR VALUES FROM (%%L) TO (%%L)',
        to_timestamp(%s::numeric / 1000000), to_timestamp(%s::numeric / 1000000))

-- name: has_others
-- Whether a part has rows besides those of a target up to a position.
SELECT EXISTS (
    SELECT 1 FROM {part}
    WHERE archetype <> {archetype} OR model_type <> {model_type} OR (txid, id) > ({txid}::xid8, {id})
)
