-- name: holders
-- Open transactions that have written, the oldest first: no row of theirs or of a later one can be read yet.
SELECT pid, application_name, state, extract(epoch FROM now() - xact_start)::float8,
    to_char(query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', left(query, 200)
FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND now() - xact_start > make_interval(secs => %(seconds)s)
ORDER BY age(backend_xid) DESC

-- name: prepared
SELECT gid, owner::text, database::text, extract(epoch FROM now() - prepared)::float8
FROM pg_prepared_xacts WHERE now() - prepared > make_interval(secs => %(seconds)s) ORDER BY prepared

-- name: slots
-- They hold no row back, but keep what is removed: the disk fills.
SELECT slot_name::text, active, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 / 1048576
FROM pg_replication_slots
WHERE restart_lsn IS NOT NULL AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > %(megabytes)s * 1048576.0
ORDER BY 3 DESC

-- name: held_back
SELECT count(*) FROM (
    SELECT 1 FROM ml_experience_replay WHERE txid >= pg_snapshot_xmin(pg_current_snapshot()) LIMIT %(at_most)s
) AS rows

-- name: indexes
-- By the columns they are of, in order; those of partitioned tables too.
SELECT array(
    SELECT pg_get_indexdef(index.indexrelid, place, true) FROM generate_series(1, index.indnkeyatts) AS place
)
FROM pg_index AS index WHERE index.indrelid = to_regclass('ml_experience_replay') AND index.indisvalid

-- name: ahead
-- Rows of transactions that this server has not had yet: another server wrote them.
SELECT count(*), max(txid::text::numeric - pg_snapshot_xmax(pg_current_snapshot())::text::numeric)::bigint
FROM ml_experience_replay WHERE txid >= pg_snapshot_xmax(pg_current_snapshot())

-- name: catch_up
-- Each turn is a transaction of its own, which is what counts; nothing of it has to survive a power cut.
DO $$ BEGIN
    FOR turn IN 1..{turns} LOOP
        PERFORM pg_current_xact_id();
        COMMIT;
    END LOOP;
END $$

-- name: widths
SELECT {target}, {width}, count(*) FROM ml_experience_replay GROUP BY 1, 2 ORDER BY 1, 3 DESC

-- name: active
SELECT archetype || '/' || model_type, count(*), max(id)
FROM ml_model_versions WHERE active GROUP BY 1 HAVING count(*) > 1 ORDER BY 1

-- name: active_index
SELECT 1 FROM pg_index
WHERE indrelid = to_regclass('ml_model_versions') AND indisunique AND indisvalid
    AND pg_get_expr(indpred, indrelid) LIKE '%%active%%'
