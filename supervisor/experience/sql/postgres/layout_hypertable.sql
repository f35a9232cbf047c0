-- After the plain layout: chunks of a day, made and found by TimescaleDB.
CREATE EXTENSION IF NOT EXISTS timescaledb;
SELECT create_hypertable('ml_experience_replay', 'timestamp', chunk_time_interval => interval '1 day');
