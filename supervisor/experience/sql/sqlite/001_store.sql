-- Times are microseconds since 1970 (UTC); states, next states and controls are little-endian float32.
-- Write transactions follow one another, so the order of ids is the order of commits.

CREATE TABLE ml_experience_replay (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    "timestamp" INTEGER NOT NULL,
    archetype TEXT NOT NULL,
    model_type TEXT NOT NULL,
    state BLOB NOT NULL,
    action INTEGER NOT NULL DEFAULT 0,
    controls BLOB NOT NULL DEFAULT x'',
    reward REAL NOT NULL,
    next_state BLOB NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    priority REAL NOT NULL DEFAULT 1,
    episode INTEGER NOT NULL DEFAULT 0,
    step INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ml_experience_replay_target ON ml_experience_replay (archetype, model_type, id);
CREATE INDEX ml_experience_replay_timestamp ON ml_experience_replay ("timestamp");

CREATE TABLE ml_experience_batches (
    client TEXT NOT NULL,
    key TEXT NOT NULL,
    rows INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) WITHOUT ROWID;
CREATE INDEX ml_experience_batches_stored_at ON ml_experience_batches (stored_at);

CREATE TABLE ml_experience_quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    "timestamp" INTEGER NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    row TEXT NOT NULL
);

CREATE TABLE ml_experience_readers (
    name TEXT NOT NULL,
    archetype TEXT NOT NULL,
    model_type TEXT NOT NULL,
    txid INTEGER NOT NULL,
    row_id INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (name, archetype, model_type)
) WITHOUT ROWID;

CREATE TABLE ml_runs (
    run_id TEXT PRIMARY KEY,
    folder_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE ml_models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL DEFAULT '',
    archetype TEXT NOT NULL,
    model_type TEXT NOT NULL,
    version TEXT NOT NULL,
    is_deployed INTEGER NOT NULL DEFAULT 0,
    metrics TEXT NOT NULL DEFAULT '{}',
    onnx_path TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (run_id, archetype, model_type, version)
);

CREATE TABLE ml_model_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL DEFAULT '',
    archetype TEXT NOT NULL,
    model_type TEXT NOT NULL,
    version TEXT NOT NULL,
    onnx_path TEXT NOT NULL,
    sha256 TEXT,
    performance_score REAL,
    active INTEGER NOT NULL DEFAULT 0,
    deployed_at INTEGER NOT NULL,
    UNIQUE (run_id, archetype, model_type, version)
);
CREATE UNIQUE INDEX ml_model_versions_active ON ml_model_versions (archetype, model_type) WHERE active;

CREATE TABLE ml_continuous_training_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL DEFAULT '',
    iteration INTEGER NOT NULL,
    archetype TEXT NOT NULL,
    model_type TEXT NOT NULL,
    cycle INTEGER NOT NULL DEFAULT 0,
    training_start INTEGER NOT NULL,
    training_end INTEGER,
    steps_taken INTEGER NOT NULL DEFAULT 0,
    validation_metric REAL,
    improvement_delta REAL,
    deployed INTEGER NOT NULL DEFAULT 0,
    rollback INTEGER NOT NULL DEFAULT 0,
    experiences INTEGER NOT NULL DEFAULT 0,
    version TEXT,
    reason TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    UNIQUE (run_id, iteration)
);
