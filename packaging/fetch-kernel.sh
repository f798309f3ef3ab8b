#!/bin/sh
# Unpacks into the folder $1, which must not exist, what the metapackage $3 of
# Debian's suite $2 for the architecture $4 stands for today: the kernel as
# vmlinuz and its modules, as they are packed, below modules. Nothing is installed, and
# of this machine's own apt only mirror, proxy and keys are used: lists and
# packages are kept in a folder that is gone afterwards.
set -eu

to=$1 suite=$2 package=$3 arch=$4

# shellcheck disable=SC1091
own=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
	awk -v own="$own" '$3 == "main" && ($2 == own || $2 ~ /^(oldstable|stable|testing|unstable|sid)$/) { print $1; exit }')
if [ -z "$mirror" ]; then
	echo "apt knows no mirror of Debian's $own" >&2
	exit 1
fi

mkdir -p "$(dirname "$to")"
work=$(mktemp -d "$to.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/none" "$work/tree"
: >"$work/status"
echo "deb [arch=$arch signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
cat >"$work/apt.conf" <<-END
	Dir::Etc::sourcelist "$work/sources.list";
	Dir::Etc::sourceparts "$work/none";
	Dir::Etc::preferencesparts "$work/none";
	Dir::State "$work/state";
	Dir::State::status "$work/status";
	Dir::Cache "$work/cache";
	APT::Architecture "$arch";
	APT::Architectures { "$arch"; };
	APT::Sandbox::User "root";
	Acquire::Languages "none";
END
export APT_CONFIG="$work/apt.conf"
apt-get -qq update

# The metapackage depends on today's kernel, which may leave its modules to others.
packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$package" |
	grep -E '^linux-(image|modules|binary)-[0-9]' | sort -u)
# One word each: the names hold no blanks.
# shellcheck disable=SC2086
(cd "$work" && apt-get -qq download $packages)
for deb in "$work"/*.deb; do
	dpkg-deb -x "$deb" "$work/tree"
done

# Newer packages have the kernel beside its modules, and these below /usr.
mkdir "$work/kernel"
find "$work/tree" -type f -name 'vmlinu?*' -exec mv {} "$work/kernel/vmlinuz" \;
find "$work/tree" -type d -path '*lib/modules/*' -prune -exec mv {} "$work/kernel/modules" \;
mv -T "$work/kernel" "$to" 2>/dev/null || [ -e "$to/vmlinuz" ] # another was quicker
