#!/usr/bin/env bash
# go test ./..., shortened to what a person needs: a line for each package, what
# failed with its output, and at the end what was skipped and why. With CI set, a
# skip is a failure. One package at a time: some load the machine on purpose, and
# others measure how soon they are told of something. The kernels of Debian's
# releases, emulated, take five minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

go test -count=1 -v -p 1 -timeout 45m "$@" ./... 2>&1 | awk -v ci="${CI:-}" '
	$1 == "===" { test = $3; next }
	match($0, /^ *--- PASS: /) { delete said[$3]; passed++; next }
	match($0, /^ *--- SKIP: /) { skips[++skipped] = $3 "\n" said[$3]; delete said[$3]; next }
	match($0, /^ *--- FAIL: /) { printf "%s%s\n", said[$3], $0; delete said[$3]; failed++; next }
	/^PASS$/ { next }
	/^(ok|FAIL|\?|#|panic:|fatal error:) ?/ { flush(); print; next }
	test == "" { print; next }
	{ said[test] = said[test] $0 "\n" }
	function flush(  t) {
		if ($1 != "ok" && $1 != "?") for (t in said) printf "%s", said[t]
		delete said
		test = ""
	}
	END {
		if (skipped) print "\nSkipped:"
		for (i = 1; i <= skipped; i++) printf "%s", skips[i]
		printf "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped
		if (ci != "" && skipped) { print "A skip is a failure in CI."; exit 1 }
	}'
