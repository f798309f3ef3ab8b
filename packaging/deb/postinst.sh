#!/bin/sh
# Debian package: after the files are in place. $2 is the version replaced, if any.
set -eu
[ "$1" = configure ] || exit 0

systemd-sysusers cityward.conf
deb-systemd-helper unmask cityward.service >/dev/null || true
if deb-systemd-helper --quiet was-enabled cityward.service; then
	deb-systemd-helper enable cityward.service >/dev/null || true
else
	# A person disabled it: an upgrade does not change that.
	deb-systemd-helper update-state cityward.service >/dev/null || true
fi

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
if [ -n "${2:-}" ]; then
	deb-systemd-invoke try-restart cityward.service || true
else
	deb-systemd-invoke start cityward.service || true
fi
