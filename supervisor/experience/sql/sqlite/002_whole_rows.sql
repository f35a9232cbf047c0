-- A row is one piece of bytes, `row` (its layout: sqlite/packing.py), and nothing else of it is ever read. The other
-- columns say the same for conditions and for people; NaN is NULL there. `width` is how many numbers its state has.

DROP INDEX ml_experience_replay_target;
DROP INDEX ml_experience_replay_timestamp;
ALTER TABLE ml_experience_replay RENAME TO ml_experience_replay_1;

CREATE TABLE ml_experience_replay (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    "timestamp" INTEGER NOT NULL,
    archetype TEXT NOT NULL,
    model_type TEXT NOT NULL,
    width INTEGER NOT NULL,
    action INTEGER NOT NULL,
    reward REAL,
    done INTEGER NOT NULL,
    priority REAL,
    episode INTEGER NOT NULL,
    step INTEGER NOT NULL,
    version INTEGER NOT NULL,
    row BLOB NOT NULL
);

INSERT OR IGNORE INTO ml_experience_replay
SELECT id, "timestamp", archetype, model_type, length(state) / 4, action, reward, done, priority, episode, step, version,
    packed_cells("timestamp", state, action, controls, reward, next_state, done, priority, episode, step, version)
FROM ml_experience_replay_1 ORDER BY id;

-- What no piece could be made of would not have been read before either.
INSERT INTO ml_experience_quarantine ("timestamp", target, reason, detail, row)
SELECT "timestamp", archetype || '/' || model_type, 'wrong_width',
    'state of ' || length(state) || ' bytes, next state of ' || length(next_state) || ', controls of ' || length(controls),
    substr(json_object('state', hex(state), 'action', told_cell(action), 'controls', hex(controls),
        'reward', told_cell(reward), 'next_state', hex(next_state), 'done', told_cell(done),
        'priority', told_cell(priority), 'episode', told_cell(episode), 'step', told_cell(step),
        'version', told_cell(version)), 1, 4096)
FROM ml_experience_replay_1 WHERE id NOT IN (SELECT id FROM ml_experience_replay) ORDER BY id;

-- Ids are never given twice, those of removed rows neither.
DELETE FROM sqlite_sequence WHERE name = 'ml_experience_replay';
UPDATE sqlite_sequence SET name = 'ml_experience_replay' WHERE name = 'ml_experience_replay_1';
DROP TABLE ml_experience_replay_1;

CREATE INDEX ml_experience_replay_target ON ml_experience_replay (archetype, model_type, id);
CREATE INDEX ml_experience_replay_timestamp ON ml_experience_replay ("timestamp");

CREATE TRIGGER ml_experience_replay_whole BEFORE UPDATE ON ml_experience_replay BEGIN
    SELECT RAISE(ABORT, 'what is read of a row is its column row alone; remove it and bring it again');
END;
