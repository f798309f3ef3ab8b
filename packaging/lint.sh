#!/bin/sh
# Everything that is judged without running it. The first that complains ends it.
set -eu
cd "$(dirname "$0")/.."

tool() { go tool -modfile=packaging/tools/go.mod "$@"; }

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs go tool -modfile=packaging/tools/go.mod gofumpt -l)
if [ -n "$unformatted" ]; then
	echo "gofumpt would change:
$unformatted" >&2
	exit 1
fi
go vet ./...
tool staticcheck ./...
tool golangci-lint run ./...
if command -v shellcheck >/dev/null; then
	shellcheck .ci/run packaging/*.sh packaging/deb/*.sh
else
	echo 'shellcheck is not installed: the shell scripts were not checked' >&2
	[ -z "${CI:-}" ]
fi
