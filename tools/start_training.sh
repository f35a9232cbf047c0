#!/usr/bin/env bash
# Searches, promotes and serves until told to stop. Flags go to `incumbent run`; Ctrl+C saves and leaves, the same
# command goes on where it was. Made for a terminal, tmux and systemd alike.
#
# What ends unexpectedly is started again: after 30 s, then after twice as long each time, 10 min at most; after 30 s
# again once it has got on (the supervisor: a new line in the log, the server: ten minutes of life). Exit codes 2, 3, 4
# and 6 are final. INCUMBENT_RESTART_DELAY_S is the first delay in whole seconds, 30 if it is not set.
set -uo pipefail
first_delay_s=${INCUMBENT_RESTART_DELAY_S:-30}
longest_delay_s=600
case "$first_delay_s" in
    *[!0-9]* | 0*)
        echo "start_training: INCUMBENT_RESTART_DELAY_S is $first_delay_s; give whole seconds, 1 or more" >&2
        exit 2
        ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/setup.sh" || exit $?
incumbent="$root/.venv/bin/incumbent"

# Plans and help run nothing, so nothing is served beside them.
for flag in "$@"; do
    case "$flag" in --help | --dry-run) exec "$incumbent" run "$@" ;; esac
done

# The server needs the same folder and configuration as the run.
serve_flags=()
run_dir=checkpoints
previous=""
for flag in "$@"; do
    case "$previous" in --run-dir | --config) serve_flags+=("$previous" "$flag") ;; esac
    case "$flag" in --run-dir=* | --config=*) serve_flags+=("$flag") ;; esac
    [ "$previous" = --run-dir ] && run_dir=$flag
    case "$flag" in --run-dir=*) run_dir=${flag#*=} ;; esac
    previous=$flag
done

# systemd takes this script for the service, but it is the supervisor that speaks for it and beats.
unset WATCHDOG_PID

say() {
    echo "start_training: $1" >&2
}

# The last whole line of the log; one that was torn by a crash is no progress.
last_line() {
    local text
    text=$(tail -n 2 -- "$run_dir/training_log.jsonl" 2>/dev/null; echo .) # the dot keeps a last newline
    [[ $text == *$'\n'* ]] || return 0
    text=${text%$'\n'*}
    echo "${text##*$'\n'}"
}

got_on() {
    local now
    now=$(last_line)
    [ -n "$now" ] && [ "$now" != "$1" ]
}

# `keep` runs one program until its end is final. Each keeper has one child, and hands every signal on to it once.
child="" early="" stopping="" signalled="" code=0

# Whether this child of ours still runs: the pid of one that ended may be a stranger's by now.
is_running() {
    local pid
    for pid in $(jobs -rp); do
        [ "$pid" = "$1" ] && return 0 # a bare return in a trap would give the status of before the trap
    done
    return 1
}

hand_on() {
    stopping=1 signalled=1
    if [ -z "$child" ]; then
        early+=" $1"
    elif is_running "$child"; then
        kill -"$1" "$child" 2>/dev/null
    fi
    return 0
}

# The child has a session of its own: a Ctrl+C in the terminal reaches this script alone. It is known as child only when
# it has said on descriptor 3 that signals reach it; the shell's background children ignore SIGINT until then.
start() {
    setsid env --default-signal=INT sh -c 'echo >&3; exec "$@" 3>&-' start "$@" &
    local pid=$! signal
    read -r -t 10 -u 3
    child=$pid
    for signal in $early; do is_running "$child" && kill -"$signal" "$child" 2>/dev/null; done
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

# Waits, unless told to stop. While no supervisor runs, systemd hears that from here, and its watchdog is kept quiet.
rest() {
    local left_s=$1 slice_s
    while [ "$left_s" -gt 0 ] && [ -z "$stopping" ]; do
        slice_s=$left_s
        if [ -n "${NOTIFY_SOCKET:-}" ]; then
            slice_s=$((${WATCHDOG_USEC:-0} / 3000000))
            [ "$slice_s" -ge 1 ] && [ "$slice_s" -le "$left_s" ] || slice_s=$left_s
            # A service that was not ready yet has its time to start from the end of the pause.
            systemd-notify --status="$2; it is started again in $left_s s" WATCHDOG=1 \
                EXTEND_TIMEOUT_USEC=$(((slice_s + 900) * 1000000))
        fi
        start sleep "$slice_s"
        wait_for "$child"
        child=""
        left_s=$((left_s - slice_s))
    done
}

keep() {
    local name=$1 delay_s=$first_delay_s started_s line left_with
    shift
    exec 3<> <(:) # a pipe with both its ends
    while :; do
        started_s=$SECONDS line=$(last_line)
        start "$incumbent" "$@"
        wait_for "$child"
        child=""
        case "$code" in
            0 | 130) return ;;
            2) say "$name left with code 2, wrong usage: its message above says what to correct" ;;
            3) say "$name left with code 3, invalid configuration: its message above says what to correct" ;;
            4) say "$name left with code 4: another one works in $run_dir" ;;
            6) say "$name left with code 6, damaged state: its message above says what is left to you" ;;
        esac
        case "$code" in 2 | 3 | 4 | 6) return ;; esac
        [ -n "$stopping" ] && return
        case "$1" in
            run) got_on "$line" && delay_s=$first_delay_s ;;
            serve) [ $((SECONDS - started_s)) -ge "$longest_delay_s" ] && delay_s=$first_delay_s ;;
        esac
        say "$name left with code $code; it is started again in $delay_s s"
        left_with=$code
        rest "$delay_s" "$name left with code $code"
        code=$left_with
        [ -n "$stopping" ] && return
        kill -0 $$ 2>/dev/null || return # the server's keeper outlived the script
        delay_s=$((delay_s * 2 < longest_delay_s ? delay_s * 2 : longest_delay_s))
    done
}

trap 'hand_on INT' INT
trap 'hand_on TERM' TERM HUP
trap 'hand_on ABRT' ABRT # systemd's word to a service that does not beat: the supervisor says where it hangs, and dies

# The server leaves with 0, and is not started again, where one of this folder serves already or the port is taken.
exec 3<> <(:)
(
    trap '' INT HUP # the run saves first; then the script says TERM
    trap 'hand_on TERM' TERM
    trap - ABRT
    unset NOTIFY_SOCKET WATCHDOG_USEC # a server that is well must not beat for a supervisor that is not
    echo >&3
    keep "the server" serve --beside-run ${serve_flags[@]+"${serve_flags[@]}"}
) &
server_keeper=$!
read -r -t 10 -u 3

keep "the supervisor" run "$@"
final=$code
if is_running "$server_keeper" && kill -TERM "$server_keeper" 2>/dev/null; then
    wait_for "$server_keeper"
    if [ "$final" -eq 0 ]; then
        echo "start_training: the server is stopped; to serve alone: $incumbent serve ${serve_flags[*]-}"
    fi
fi
exit "$final"
