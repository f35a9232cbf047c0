-- name: columns
-- What the table of experience is made of, whoever made it.
SELECT attribute.attname::text, kind.typname::text, attribute.attnotnull
FROM pg_attribute AS attribute
JOIN pg_type AS kind ON kind.oid = attribute.atttypid
WHERE attribute.attrelid = to_regclass('ml_experience_replay') AND attribute.attnum > 0 AND NOT attribute.attisdropped

-- name: page
-- Rows in order, after one position up to another. COPY takes no parameters: all that is filled in is quoted.
COPY (
    SELECT {columns} FROM ml_experience_replay
    WHERE {chosen} AND {after} AND {upto} AND {final}
    ORDER BY {order} LIMIT {rows}
) TO STDOUT (FORMAT binary)

-- name: place
-- The position of the row that comes `skip` rows after the first of a range, from either end.
SELECT {txid}, {id} FROM ml_experience_replay
WHERE {chosen} AND {after} AND {upto} AND {final}
ORDER BY {order} LIMIT 1 OFFSET {skip}

-- name: count
SELECT count(*) FROM (
    SELECT 1 FROM ml_experience_replay WHERE {chosen} AND {after} AND {upto} AND {final} LIMIT {at_most}
) AS found

-- name: stats
SELECT {target}, count(*), min({time}), max({time}) FROM ml_experience_replay WHERE {final} GROUP BY 1 ORDER BY 1

-- name: note_reader
INSERT INTO ml_experience_readers (name, archetype, model_type, txid, row_id, seen_at)
VALUES (%s, %s, %s, %s, %s, to_timestamp(%s::numeric / 1000000))
ON CONFLICT (name, archetype, model_type)
DO UPDATE SET txid = excluded.txid, row_id = excluded.row_id, seen_at = excluded.seen_at

-- name: readers
SELECT name, archetype || '/' || model_type, txid, row_id, (extract(epoch FROM seen_at) * 1000000)::bigint
FROM ml_experience_readers ORDER BY 1, 2
