#!/usr/bin/env bash
# Searches, promotes and serves until told to stop. Flags go to `incumbent run`; Ctrl+C saves and leaves, the same
# command goes on where it was. Restarts the supervisor after a crash; made for a terminal, tmux and systemd alike.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/setup.sh" || exit $?
incumbent="$root/.venv/bin/incumbent"

# Plans and help run nothing, so nothing is served beside them.
for flag in "$@"; do
    case "$flag" in --help | --dry-run) exec "$incumbent" run "$@" ;; esac
done

# The server needs the same folder and configuration as the run.
serve_flags=()
previous=""
for flag in "$@"; do
    case "$previous" in --run-dir | --config) serve_flags+=("$previous" "$flag") ;; esac
    case "$flag" in --run-dir=* | --config=*) serve_flags+=("$flag") ;; esac
    previous=$flag
done

run_pid="" server_pid="" pause_pid="" stopping=""

# Every child has a session of its own: a Ctrl+C in the terminal reaches this script alone, which hands it on once.
own_session() { exec setsid "$@"; }

hand_on() {
    stopping=1
    [ -n "$run_pid" ] && kill -"$1" "$run_pid" 2>/dev/null
    [ -n "$pause_pid" ] && kill "$pause_pid" 2>/dev/null
    return 0
}
trap 'hand_on INT' INT
trap 'hand_on TERM' TERM HUP

# wait is cut short by every trapped signal; only the child's end counts. Its exit code is left in $code.
wait_for() {
    while :; do
        wait "$1" 2>/dev/null # the shell would announce a killed child by itself
        code=$?
        kill -0 "$1" 2>/dev/null || break
    done
    if [ "$code" -gt 128 ]; then # perhaps the signal's, not the child's
        local again=0
        wait "$1" 2>/dev/null || again=$?
        [ "$again" -ne 127 ] && code=$again
    fi
}

start_server() {
    own_session "$incumbent" serve --beside-run ${serve_flags[@]+"${serve_flags[@]}"} &
    server_pid=$!
}

start_server
delay_s=1
while :; do
    started_s=$SECONDS
    own_session "$incumbent" run "$@" &
    run_pid=$!
    wait_for "$run_pid"
    run_pid=""
    case "$code" in 0 | 2 | 3 | 4 | 6 | 130) break ;; esac
    [ -n "$stopping" ] && break
    [ $((SECONDS - started_s)) -gt 600 ] && delay_s=1
    echo "start_training: the supervisor left with code $code; it is started again in $delay_s s" >&2
    sleep "$delay_s" &
    pause_pid=$!
    wait "$pause_pid" 2>/dev/null
    pause_pid=""
    [ -n "$stopping" ] && break
    delay_s=$((delay_s < 60 ? delay_s * 2 : 60))
    kill -0 "$server_pid" 2>/dev/null || start_server
done

server_was_ours=""
if kill -TERM "$server_pid" 2>/dev/null; then
    server_was_ours=1
    final=$code
    wait_for "$server_pid"
    code=$final
fi
if [ -n "$server_was_ours" ] && [ "$code" -eq 0 ]; then
    echo "start_training: the server is stopped; to serve alone: $incumbent serve ${serve_flags[*]-}"
fi
exit "$code"
