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
SELECT txid::text::bigint, id, (extract(epoch FROM "timestamp") * 1000000)::bigint, state, action, controls, reward,
    next_state, done, priority, episode, step, version
FROM ml_experience_replay
WHERE archetype = %s AND model_type = %s
    AND "timestamp" >= to_timestamp(%s::numeric / 1000000) AND "timestamp" < to_timestamp(%s::numeric / 1000000)
    AND (txid, id) > (%s::xid8, %s) AND (txid, id) <= (%s::xid8, %s)
ORDER BY txid, id LIMIT %s

-- name: remove
-- The first rows of a span, and where the last of them stood.
WITH chosen AS MATERIALIZED (
    SELECT txid, id, "timestamp" FROM ml_experience_replay
    WHERE archetype = %s AND model_type = %s
        AND "timestamp" >= to_timestamp(%s::numeric / 1000000) AND "timestamp" < to_timestamp(%s::numeric / 1000000)
        AND (txid, id) > (%s::xid8, %s) AND (txid, id) <= (%s::xid8, %s)
    ORDER BY txid, id LIMIT %s
), gone AS (
    DELETE FROM ml_experience_replay AS rows USING chosen
    WHERE rows.archetype = %s AND rows.model_type = %s
        AND rows.txid = chosen.txid AND rows.id = chosen.id AND rows."timestamp" = chosen."timestamp"
    RETURNING rows.txid, rows.id
)
SELECT txid::text::bigint, id, (SELECT count(*) FROM gone) FROM chosen ORDER BY chosen.txid DESC, chosen.id DESC LIMIT 1

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
