#!/usr/bin/env bash
# Run check, gate and perf, whatever the others say; keep their answers in $RESULTS, and render them as report.md there.
# It succeeds: the gravest exit code goes to $GITHUB_OUTPUT, so that the answers are told before the step fails by it.
set -fuo pipefail
rm -rf "$RESULTS"
mkdir -p "$RESULTS"

ask() { # NAME ARGUMENTS…: run a command of grokbench, and keep its JSON, its exit code and the end of its messages
  local name=$1
  shift
  grokbench "$name" "$@" --json "$RESULTS/$name.json" 2> >(tee "$RESULTS/$name.err" >&2)
  echo $? >"$RESULTS/$name.code"
}

if [ "${CHECK:-true}" = true ]; then ask check "$CANDIDATE"; fi
# shellcheck disable=SC2086  # several options, divided at spaces
ask gate --baseline "$BASELINE" --candidate "$CANDIDATE" ${GATE_OPTIONS:-}
# shellcheck disable=SC2086
if [ -n "${PERF:-}" ]; then ask perf --baseline "$PERF" --candidate "$CANDIDATE" ${PERF_OPTIONS:-}; fi
wait

code=$(python "$(dirname "$0")/comment.py" render "$RESULTS") || exit 4
printf 'code=%s\nreport=%s\n' "$code" "$RESULTS/report.md" >>"$GITHUB_OUTPUT"
