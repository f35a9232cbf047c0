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

# `keep` runs one program until its end is final. Each keeper has one child, and hands every signal on to it once.
child="" early="" stopping="" signalled="" code=0

hand_on() {
    stopping=1 signalled=1
    if [ -n "$child" ]; then kill -"$1" "$child" 2>/dev/null; else early+=" $1"; fi
    return 0
}

# The child has a session of its own: a Ctrl+C in the terminal reaches this script alone. It is known as child only when
# it has said on descriptor 3 that signals reach it; the shell's background children ignore SIGINT until then.
start() {
    setsid env --default-signal=INT sh -c 'echo >&3; exec "$@" 3>&-' start "$@" &
    local pid=$! signal
    read -r -t 10 -u 3
    child=$pid
    for signal in $early; do kill -"$signal" "$child" 2>/dev/null; done
    early=""
}

# Leaves the exit code in $code. A trapped signal cuts `wait` short: after one it is asked again, and what it answered
# before counts if it knows the process no more (127).
wait_for() {
    local answer
    code=127
    while :; do
        signalled=""
        wait "$1" 2>/dev/null # the shell would announce a killed child by itself
        answer=$?
        [ "$answer" -eq 127 ] || code=$answer
        [ -n "$signalled" ] || break
    done
}

keep() {
    local name=$1 delay_s=1 started_s
    shift
    exec 3<> <(:) # a pipe with both its ends
    while :; do
        started_s=$SECONDS
        start "$incumbent" "$@"
        wait_for "$child"
        child=""
        case "$code" in 0 | 2 | 3 | 4 | 6 | 130) return ;; esac
        [ -n "$stopping" ] && return
        [ $((SECONDS - started_s)) -gt 600 ] && delay_s=1
        echo "start_training: $name left with code $code; it is started again in $delay_s s" >&2
        local left_with=$code
        start sleep "$delay_s"
        wait_for "$child"
        child="" code=$left_with
        [ -n "$stopping" ] && return
        kill -0 $$ 2>/dev/null || return # the server's keeper outlived the script
        delay_s=$((delay_s < 30 ? delay_s * 2 : 60))
    done
}

trap 'hand_on INT' INT
trap 'hand_on TERM' TERM HUP

# The server leaves with 0, and is not started again, where one of this folder serves already or the port is taken.
exec 3<> <(:)
(
    trap '' INT HUP # the run saves first; then the script says TERM
    trap 'hand_on TERM' TERM
    echo >&3
    keep "the server" serve --beside-run ${serve_flags[@]+"${serve_flags[@]}"}
) &
server_keeper=$!
read -r -t 10 -u 3

keep "the supervisor" run "$@"
final=$code
if kill -TERM "$server_keeper" 2>/dev/null; then
    wait_for "$server_keeper"
    if [ "$final" -eq 0 ]; then
        echo "start_training: the server is stopped; to serve alone: $incumbent serve ${serve_flags[*]-}"
    fi
fi
exit "$final"
