#!/bin/sh
# Debian package: before the files go. An upgrade keeps watching until postinst restarts it.
set -eu
[ "$1" = remove ] || exit 0
[ -d /run/systemd/system ] || exit 0
deb-systemd-invoke stop cityward.service
# Or the kernel would count on, for nobody.
/usr/bin/cityward service unpin || true
