#!/bin/sh
# Fuzzes target $1 for the time $2: fuzz/run.sh FuzzConn 10s. GO names the go command.
#
# Before Go 1.27 the fuzzer now and then takes the end of its time for a failure (go.dev/issue/75804): it says "context
# deadline exceeded", and has no failing input. Such a run has found nothing, and is repeated. Every other failure stands.
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "$1"
for run in 1 2 3; do
	{ "${GO:-go}" test -run '^$' -fuzz "^$1\$" -fuzztime "$2" -fuzzminimizetime 20x ./fuzz 2>&1 || echo "failed: $1"; } | tee "$log"
	grep -q "^failed: $1" "$log" || exit 0
	if grep -q 'Failing input' "$log" || [ "$(grep -A 1 -e '^--- FAIL' "$log" | tail -n 1)" != '    context deadline exceeded' ]; then
		exit 1
	fi
done
exit 1
