#!/bin/sh
# Writes to the file $1 the licence of every module that is linked into the program,
# and of Go's own library, as those licences demand. A module without one is an error.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$1")"

modules=$(CGO_ENABLED=0 GOOS=linux go list -deps \
	-f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/cityward)

printf '%s\n' "go $(go env GOVERSION) $(go env GOROOT)" "$modules" | sort -u | while read -r path version dir; do
	[ -n "$path" ] || continue # a package of Go's own library
	found=''
	for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
		[ -f "$file" ] || continue
		found=yes
		printf '%s %s: %s\n\n' "$path" "$version" "$(basename "$file")"
		cat "$file"
		printf '\n%s\n\n' '------------------------------------------------------------------------'
	done
	if [ -z "$found" ]; then
		echo "$path $version has no licence" >&2
		exit 1
	fi
done >"$1"
