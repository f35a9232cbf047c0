-- name: session
-- What a connection of ours keeps to, whatever the server's defaults are. A page is a short statement that goes by an
-- index: compiling it or splitting it among processes costs more than it saves. What was answered for survives a power cut.
SELECT
    set_config('statement_timeout', %(statement_ms)s::text, false),
    set_config('idle_in_transaction_session_timeout', %(statement_ms)s::text, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('timezone', 'UTC', false),
    set_config('jit', 'off', false),
    set_config('max_parallel_workers_per_gather', '0', false),
    set_config('enable_sort', 'off', false),
    set_config('enable_bitmapscan', 'off', false),
    set_config(
        'synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
        false
    )
