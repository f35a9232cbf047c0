SELECT version, onnx_path
FROM ml_model_versions
WHERE archetype = 'aggressive'
    AND model_type = 'combat_dqn'
    AND active = FALSE
ORDER BY deployed_at DESC
LIMIT 1;

SELECT 
    archetype,
    model_type,
    training_start,
    steps_taken,
    validation_metric,
    improvement_delta,
    deployed,
    rollback
FROM ml_continuous_training_log
ORDER BY created_at DESC
LIMIT 20;

SELECT 
    archetype,
    model_type,
    version,
    deployed_at,
    active,
    performance_score
FROM ml_model_versions
WHERE active = TRUE
ORDER BY deployed_at DESC;

SELECT * 
FROM ml_continuous_training_log
WHERE rollback = TRUE
ORDER BY created_at DESC;

SELECT COUNT(*) FROM ml_experience_replay WHERE timestamp > NOW() - INTERVAL '1 hour';

SELECT 1;

SELECT 
    archetype,
    COUNT(*) as count,
    MAX(timestamp) as latest
FROM ml_experience_replay
WHERE timestamp > NOW() - INTERVAL '1 hour'
GROUP BY archetype;

SELECT COUNT(*) as rollback_count
FROM ml_continuous_training_log
WHERE rollback = TRUE
    AND created_at > NOW() - INTERVAL '24 hours';

SELECT 
    archetype,
    model_type,
    validation_metric,
    improvement_delta,
    deployed
FROM ml_continuous_training_log
WHERE deployed = TRUE
ORDER BY created_at DESC
LIMIT 10;

SELECT archetype, model_type, version, is_deployed, 
       metrics->>'val_loss' as val_loss
FROM ml_models
ORDER BY archetype, model_type;

SELECT * FROM ml_experience_replay
