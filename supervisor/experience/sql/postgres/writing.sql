-- name: claim
-- Parcels by their names: those that are stored already are left out of the answer. Who comes at the same time waits
-- here until the other has committed; that names come in order keeps two of them from waiting for each other.
INSERT INTO ml_experience_batches (client, key, rows, quarantined) VALUES {names}
ON CONFLICT (client, key) DO NOTHING
RETURNING client, key

-- name: known
SELECT client, key, rows, quarantined FROM ml_experience_batches
JOIN unnest(%s::text[], %s::text[]) AS given (client, key) USING (client, key)

-- name: rows
COPY ml_experience_replay
(archetype, model_type, "timestamp", state, action, controls, reward, next_state, done, priority, episode, step, version)
FROM STDIN (FORMAT binary)

-- name: refused
COPY ml_experience_quarantine (target, reason, detail, row) FROM STDIN (FORMAT binary)
