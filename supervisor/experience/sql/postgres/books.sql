-- Parameters are positional, the same in both dialects; times are given as microseconds since 1970.
-- name: one_at_a_time
SELECT pg_advisory_xact_lock(%s)

-- name: claim
INSERT INTO ml_runs (run_id, folder_id, seen_at) VALUES (%s, %s, to_timestamp(%s::numeric / 1000000))
ON CONFLICT (run_id) DO UPDATE SET seen_at = excluded.seen_at

-- name: owner
SELECT folder_id FROM ml_runs WHERE run_id = %s

-- name: last
SELECT coalesce(max(iteration), 0) FROM ml_continuous_training_log WHERE run_id = %s

-- name: training
INSERT INTO ml_continuous_training_log (run_id, iteration, archetype, model_type, cycle, training_start, training_end,
    steps_taken, validation_metric, improvement_delta, deployed, rollback, experiences, version, reason, created_at)
VALUES (%s, %s, %s, %s, %s, to_timestamp(%s::numeric / 1000000), to_timestamp(%s::numeric / 1000000), %s, %s, %s, %s,
    %s, %s, %s, %s, to_timestamp(%s::numeric / 1000000))
ON CONFLICT (run_id, iteration) DO NOTHING

-- name: model
INSERT INTO ml_models (run_id, archetype, model_type, version, is_deployed, metrics, onnx_path, created_at)
VALUES (%s, %s, %s, %s, FALSE, %s::jsonb, %s, to_timestamp(%s::numeric / 1000000))
ON CONFLICT (run_id, archetype, model_type, version) DO NOTHING

-- name: undeploy_models
UPDATE ml_models SET is_deployed = FALSE WHERE archetype = %s AND model_type = %s AND is_deployed

-- name: deploy_model
UPDATE ml_models SET is_deployed = TRUE WHERE run_id = %s AND archetype = %s AND model_type = %s AND version = %s

-- name: deactivate
UPDATE ml_model_versions SET active = FALSE WHERE archetype = %s AND model_type = %s AND active

-- name: activate
INSERT INTO ml_model_versions (run_id, archetype, model_type, version, onnx_path, sha256, performance_score, active,
    deployed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, TRUE, to_timestamp(%s::numeric / 1000000))
ON CONFLICT (run_id, archetype, model_type, version) DO UPDATE SET active = TRUE,
    performance_score = excluded.performance_score, deployed_at = excluded.deployed_at
