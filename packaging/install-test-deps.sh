#!/bin/sh
# Installs from Debian's packages what the tests drive as real components, and starts
# none of them; where systemd runs they are enabled for the next boot. Without root
# it only says what is missing.
set -eu

packages='bindfs busybox-static clang cpio curl e2fsprogs fuse3 gcc gzip iproute2 libbpf-dev libc6-dev liburing-dev lintian linux-libc-dev llvm mmdebstrap netcat-openbsd nftables nodejs openssh-client openssh-server openssl perl podman postgresql prometheus prometheus-alertmanager python3 python3-venv qemu-system-arm qemu-system-x86 rsync runc shellcheck socat sshfs systemd systemd-container tar util-linux wget xz-utils'

missing=''
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "Not installed, and only root on Debian can:$missing. Tests that need them are skipped." >&2
	exit 0
fi

# policy-rc.d keeps what is installed from being started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update || echo 'apt-get update failed: trying with the lists at hand' >&2
# One word each: the names hold no blanks.
# shellcheck disable=SC2086
apt-get -qq install --yes --no-install-recommends $missing >/dev/null
