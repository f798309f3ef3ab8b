#!/bin/sh
# Debian package: after the files are gone. A purge also takes the history and the
# user; what a person wrote in /etc/cityward (waivers, an asset register) stays.
set -eu
if [ "$1" = purge ]; then
	deb-systemd-helper purge cityward.service >/dev/null || true
	rm -rf /var/lib/cityward
	rmdir --ignore-fail-on-non-empty /etc/cityward 2>/dev/null || true
	if getent passwd cityward >/dev/null; then userdel cityward; fi
	if getent group cityward >/dev/null; then groupdel cityward; fi
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
