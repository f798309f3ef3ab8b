#!/bin/sh
# Runs the tests of the flow capture on the kernels of Debian's releases, emulated;
# on one of them only with its name, such as trixie-arm64, as $1. What each kernel
# cannot do is listed in collectors/internal/kernel/matrix_test.go. Kernels are
# kept in the user's cache; a newer one is fetched once the kept one is removed.
set -eu
cd "$(dirname "$0")/.."

exec go test -count=1 -v -run "^TestKernelMatrix\$/${1:-}" ./collectors/internal/kernel
