package main

// harmless is what must not be reported: it goes out and carries nothing of a
// store, or carries it and stays in the city, or is approved. $O is a file of no
// store.
func harmless() []*scenario {
	return append(append(strangers(), neighbours()...), insiders()...)
}

// strangers hold nothing and send outside.
func strangers() []*scenario {
	return []*scenario{
		{name: "package update", script: `mkdir -p a/lists a/cache
			echo "deb [trusted=yes] $U ./" >a/sources
			apt-get -qq -o Acquire::AllowInsecureRepositories=true -o Dir::Etc::SourceList="$W/a/sources" -o Dir::Etc::SourceParts=/dev/null \
				-o Dir::State::Lists="$W/a/lists" -o Dir::Cache="$W/a/cache" -o APT::Sandbox::User=root update`},
		{name: "time sync", script: `python3 -c 'import os,socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5)
s.connect((os.environ["OUT"],int(os.environ["PORT"]))); s.send(b"\x1b"+47*b"\0"); s.recv(48)'`},
		{name: "name look-up", script: `python3 -c 'import os,socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5)
s.connect((os.environ["OUT"],int(os.environ["PORT"]))); s.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\7example\0\0\1\0\1"); s.recv(99)'`},
		{name: "download", script: `curl -sS "$U" -o page`},
		{name: "download over TLS", script: `curl -sSk "https://$OUT:$PORT/" -o page`},
		{name: "download over IPv6", script: `wget -qO page "http://[$OUT6]:$PORT/"`},
		{name: "upload of another file", script: `curl -sST "$O" "$U"`},
		{name: "upload of a copy of another file", script: `cp "$O" copy; curl -sST copy "$U"`},
		{name: "gzip | curl of another file", script: `gzip -c "$O" | curl -sST - "$U"`},
		{name: "tar | nc of another folder", script: `tar -C "$R-public" -c . | nc -N "$OUT" "$PORT"`},
		{name: "a folder whose name begins alike", script: `curl -sST "$R-public/roads.csv" "$U"`},
		{name: "scp of another file", forward: farSSH, script: `scp -q -F "$SSHC" -P "$PORT" "$O" "$OUT:$FAR/$PORT"`},
		{name: "rsync of another file", forward: farRsync, script: `rsync "$O" "rsync://$OUT:$PORT/far/$PORT"`},
		{name: "ssh session", forward: farSSH, script: `ssh -F "$SSHC" -p "$PORT" "$OUT" uptime`},
		{name: "io_uring with another file", script: `"$CARRY" uring "$O" "$OUT" "$PORT"`},
		{name: "a descriptor of another file", script: `"$CARRY" take "$W/s" "$OUT" "$PORT" & "$CARRY" pass "$O" "$W/s"; wait $!`},
		{name: "relay of another file", script: `socat -u "UNIX-LISTEN:$W/s" "TCP:$OUT:$PORT" & until [ -S s ]; do sleep 0.1; done; socat -u "FILE:$O" UNIX-CONNECT:s; wait`},
		{name: "proxy on loopback for another file", script: `socat "TCP-LISTEN:$LOCAL,bind=127.0.0.1" "TCP:$OUT:$PORT" & sleep 0.5; curl -sST "$O" "http://127.0.0.1:$LOCAL/"; wait`},
		{name: "a FUSE mount of another folder", script: `mkdir m; bindfs "$R-public" m; curl -sST m/roads.csv "$U"; fusermount3 -u m`},
		{name: "setsid daemon with another file", script: `setsid -f bash -c 'exec curl -sST "$O" "$U"'; sleep 1`},
		{name: "an outside client of a public web server", script: `cd "$R-public"; ` + webServer + ` & sleep 1
			nsenter --net="$BEYOND" curl -sS --interface "$OUT" --retry 20 --retry-connrefused --retry-delay 1 "http://$SELF:$PORT/roads.csv" -o "$W/page"; kill $!`},
	}
}

// neighbours are near a store, or near who holds it, and hold nothing.
func neighbours() []*scenario {
	return []*scenario{
		{name: "a shell that listed the folder", script: `cd "$R"; names=(*); [ -e "$D" ]; exec 3<>"/dev/tcp/$OUT/$PORT"; echo hello >&3`},
		{name: "find listed the folder", script: `find "$R/lists" "$R"/*.csv -ls >names; exec curl -sST "$O" "$U"`},
		{name: "ls | nc", script: `ls -l "$R" | nc -N "$OUT" "$PORT"`},
		{name: "a listed FUSE mount of the store", script: `mkdir m; bindfs "$R" m; wc -l m/citizens.csv >/dev/null; ls -l m | nc -N "$OUT" "$PORT"; fusermount3 -u m`},
		{name: "a FUSE mount that a holder only read", script: `mkdir m; bindfs "$R-public" m; wc -l "$D" m/roads.csv >/dev/null; curl -sST m/roads.csv "$U"; fusermount3 -u m`},
		{name: "du and stat", script: `du -s "$R/lists" >/dev/null; stat "$D" | curl -sST - "$U"`},
		{name: "a shell whose child had read", script: `wc -l "$D" >/dev/null; echo hello >"/dev/tcp/$OUT/$PORT"`},
		{name: "a shell that built a pipeline", script: `cat "$D" | wc -l >/dev/null; echo hello >"/dev/tcp/$OUT/$PORT"`},
		{name: "a shell that built a pipeline into the city", script: `gzip -c "$P" | nc -N "$CITY" "$SPARE"; curl -sST "$O" "$U"`},
		{name: "a holder beside it", script: `wc -l "$D" >/dev/null & curl -sST "$O" "$U"; wait`},
		{name: "a holder starts when it has sent", script: `exec 3<>"/dev/tcp/$OUT/$PORT"; echo hello >&3; exec 3>&-; wc -l "$P" >/dev/null`},
		{name: "a shell that renamed in the store", script: `mv "$R/renamed.csv" "$R/new.csv"; echo hello >"/dev/tcp/$OUT/$PORT"`},
		{name: "a clean-up of the store", script: `rm "$R/old.tmp"; chmod o-w "$R"; curl -sST "$O" "$U"`},
		{name: "a file that was copied into the store", script: `cp "$O" "$R/lists/in.csv"; curl -sST "$O" "$U"`},
	}
}

// insiders hold data, and it stays in the city or goes where it may.
func insiders() []*scenario {
	return []*scenario{
		{name: "upload inside the city", script: `curl -sST "$D" "http://$CITY:$PORT/"`},
		{name: "upload inside the city over IPv6", script: `curl -sST "$P" "http://[$CITY6]:$PORT/"`},
		{name: "log shipping inside the city", script: `mapfile -t all <"$P"; echo "read ${#all[@]}" >>holder.log
			tail -n 1 holder.log >"/dev/udp/$CITY/$PORT"; printf '<14>read' >"/dev/udp/$CITY/$PORT"`},
		{name: "mail inside the city", script: `(echo HELO; cat "$P") | nc -N "$CITY" "$PORT"`},
		{name: "a holder that talks to loopback", script: `nc -l 127.0.0.1 "$LOCAL" >/dev/null & sleep 0.5; nc -N 127.0.0.1 "$LOCAL" <"$D"; wait`},
		{name: "psql on this machine", script: `"$PSQL" -qc 'select count(*) from citizens'`},
		{name: "a client of the database in the city", script: `nsenter --net="$BEYOND" "$PSQL" -h "$SELF" -qc 'select count(*) from citizens'`},
		{name: "an import from the city", script: `curl -sS "http://$CITY:$PORT/" -o "$R/lists/import"`},
		{name: "approved backup", script: `tar -C "$R" -c citizens.csv | gzip | curl -sST - "http://$APPROVED:$PORT/"`},
		{name: "approved backup over ssh", forward: farSSH, script: `"$PGDUMP" | gzip | ssh -F "$SSHC" -p "$PORT" "$APPROVED" "cat >$FAR/$PORT"`},
		{name: "approved rsync", forward: farRsync, script: `rsync "$D" "rsync://$APPROVED:$PORT/far/$PORT"`},
		{name: "approved upload of a copy", script: `cp "$D" copy; curl -sST copy "http://$APPROVED:$PORT/"`},
		{name: "approved public web application", inbound: true, script: `socat "TCP-LISTEN:$PUBLIC,bind=$SELF" "SYSTEM:'$PSQL -qc \"copy citizens to stdout\"'" & sleep 0.5
			nsenter --net="$BEYOND" socat -u "TCP:$SELF:$PUBLIC,bind=$OUT" - | wc -c; wait`},
	}
}
