#!/bin/sh
# Gathers the texts that labels.toml is about and packs them into texts.tar.gz:
# from Debian's archive (with contrib, non-free and non-free-firmware), npm's
# registry, installed Python wheels and the rpm databases that the Go module
# github.com/anchore/go-rpmdb has as test data.
# usage: gather.sh WHEELS JARS DATABASES, three directories; apt-get, npm, unzip and
# rpm are needed. JARS has the archives whose label says from = "bundle".
set -eu

here=$(cd "$(dirname "$0")" && pwd)
wheels=$1 jars=$2 databases=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out
mkdir "$out" "$work/deb" "$work/npm"

# field KEY: its value in the label on standard input.
field() { sed -n "s/.*[{ ]$1 = \"\([^\"]*\)\".*/\1/p"; }
# labels ECOSYSTEM: its lines.
labels() { sed -n "/^$1 = \[/,/^]/p" "$here/labels.toml" | grep '{ name = '; }

# deb PACKAGE: downloads it once and prints the file.
deb() {
	set -- "$1" "$work/deb/$1"
	if [ ! -d "$2" ]; then
		mkdir "$2"
		(cd "$2" && apt-get -qq download "$1" >/dev/null 2>&1)
	fi
	ls "$2"/*.deb
}

# copyright PACKAGE: the text, which may lie in another package's directory.
copyright() {
	dpkg-deb --fsys-tarfile "$(deb "$1")" >"$work/tar"
	to=$(tar -tvf "$work/tar" "./usr/share/doc/$1" 2>/dev/null | sed -n '1s/.* -> //p')
	if [ -n "$to" ]; then
		copyright "$to"
		return
	fi
	to=$(tar -tvf "$work/tar" "./usr/share/doc/$1/copyright" | sed -n '1s/.* -> //p')
	if [ -n "$to" ]; then
		copyright "$(basename "$(dirname "$to")")"
		return
	fi
	tar -xOf "$work/tar" "./usr/share/doc/$1/copyright"
}

labels dpkg | while read -r label; do
	name=$(echo "$label" | field name)
	mkdir -p "$out/dpkg/$name"
	dpkg-deb -f "$(deb "$name")" Package Version Architecture Multi-Arch Source Maintainer Section \
		>"$out/dpkg/$name/control"
	dpkg-deb --fsys-tarfile "$(deb "$name")" | tar -t | sed 's/^\.//; s,\(.\)/$,\1,; s,^/$,/.,' >"$out/dpkg/$name/list"
	copyright "$name" >"$out/dpkg/$name/copyright"
done

# Of Python's metadata the fields, not the description after them.
labels python | while read -r label; do
	from=$(echo "$label" | field from) dir=$(echo "$label" | field file)
	base=$wheels
	if [ "$from" != wheel ]; then
		base=$work/deb/$from/files/usr/lib/python3/dist-packages
		[ -d "$base" ] || dpkg-deb -x "$(deb "$from")" "$work/deb/$from/files"
	fi
	(cd "$base" && find "$dir" -type f | grep -iE '/(METADATA|PKG-INFO|[^/]*(LICEN[CS]E|COPYING)[^/]*)$|^[^/]*\.egg-info$') | while read -r file; do
		mkdir -p "$out/python/$(dirname "$file")"
		case $file in
		*/METADATA | */PKG-INFO | *.egg-info) sed '/^\r\{0,1\}$/,$d' "$base/$file" ;;
		*) cat "$base/$file" ;;
		esac >"$out/python/$file"
	done
done

labels npm | while read -r label; do
	name=$(echo "$label" | field name) version=$(echo "$label" | field version)
	mkdir -p "$out/npm/$name" "$work/npm/$name"
	(cd "$work/npm/$name" && npm pack --silent "$name@$version" >/dev/null && tar -xzf ./*.tgz && rm ./*.tgz)
	find "$work/npm/$name" -mindepth 2 -maxdepth 2 -type f -size -64k |
		grep -iE '/(package\.json|[^/]*(LICEN[CS]E|COPYING)[^/]*)$' |
		while read -r file; do cp "$file" "$out/npm/$name/"; done
done

labels java | while read -r label; do
	from=$(echo "$label" | field from) file=$(echo "$label" | field name)
	jar=$jars/$file
	if [ "$from" != bundle ]; then
		[ -d "$work/deb/$from/files" ] || dpkg-deb -x "$(deb "$from")" "$work/deb/$from/files"
		jar=$work/deb/$from/files/usr/share/java/$file
	fi
	mkdir -p "$out/java/$file"
	unzip -Z1 "$jar" | grep -E '^META-INF/(MANIFEST\.MF|maven/.*/pom\.(xml|properties))$|^(META-INF/)?([Ll][Ii][Cc][Ee][Nn][CcSs][Ee]|about)[^/]*$' |
		while read -r entry; do
			mkdir -p "$out/java/$file/$(dirname "$entry")"
			unzip -p "$jar" "$entry" >"$out/java/$file/$entry"
		done
done

mkdir "$out/rpm"
labels rpm | while read -r label; do
	name=$(echo "$label" | field name) from=$(echo "$label" | field from)
	# SUSE's format is not read by Debian's rpm: those lines, made with the package
	# rpmdb of this repository, stay as they are.
	if [ -e "$databases/$from/Packages.db" ]; then
		tar -xzOf "$here/texts.tar.gz" ./rpm/tags.tsv | awk -F '\t' -v name="$name" '$1 == name && /SUSE/'
		continue
	fi
	[ -d "$work/$from" ] || cp -r "$databases/$from" "$work/$from"
	chmod -R u+w "$work/$from"
	# The files with indexes are not there: all packages are read.
	rpm --dbpath "$work/$from" -qa --queryformat \
		'%{NAME}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%|VENDOR?{%{VENDOR}}|\t%{SOURCERPM}\t%{LICENSE}\n' 2>/dev/null |
		awk -F '\t' -v name="$name" '$1 == name && !seen++'
done >"$out/rpm/tags.tsv"

find "$out" -type d -exec chmod 755 {} +
find "$out" -type f -exec chmod 644 {} +
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$out" -cf - . | gzip -9n >"$here/texts.tar.gz"
