package process

import (
	"os"
	"strings"
	"testing"
)

var id64 = strings.Repeat("0123456789abcdef", 4)

func TestParseCgroup(t *testing.T) {
	tests := []struct{ name, text, unit, container string }{
		{"v2 service", "0::/system.slice/ssh.service\n", "ssh.service", ""},
		{"v2 template", "0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service", ""},
		{"v2 escaped unit keeps its name", `0::/system.slice/system-systemd\x2dcryptsetup.slice/systemd-cryptsetup@luks\x2d1.service` + "\n", `systemd-cryptsetup@luks\x2d1.service`, ""},
		{"v2 name the kernel could mistake", "0::/system.slice/_cpu.service\n", "cpu.service", ""},
		{"v2 delegated below a service", "0::/system.slice/postgresql@15-main.service/workers\n", "postgresql@15-main.service", ""},
		{"v2 init", "0::/init.scope\n", "init.scope", ""},
		{"v2 session", "0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", ""},
		{"v2 user service", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service\n", "syncthing.service", ""},
		{"v2 root", "0::/\n", "", ""},
		{"v2 mount helper", `0::/system.slice/mnt-city\x2ddata.mount` + "\n", `mnt-city\x2ddata.mount`, ""},
		{"v2 slice alone", "0::/system.slice\n", "", ""},
		{"v2 from inside a namespace", "0::/../../system.slice/cron.service\n", "cron.service", ""},
		{"hybrid", "2:cpu,cpuacct:/\n1:name=systemd:/system.slice/cron.service\n0::/system.slice/cron.service\n", "cron.service", ""},
		{"v1 systemd", "11:memory:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service\n", "nginx.service", ""},
		{"v1 no systemd", "4:memory:/daemons/x.service\n1:cpu:/\n", "", ""},
		{"docker on systemd", "0::/system.slice/docker-" + id64 + ".scope\n", "", id64},
		{"docker with systemd inside", "0::/system.slice/docker-" + id64 + ".scope/system.slice/nginx.service\n", "", id64},
		{"docker v1", "12:pids:/docker/" + id64 + "\n1:name=systemd:/docker/" + id64 + "\n", "", id64},
		{"container in one controller only", "5:devices:/docker/" + id64 + "\n1:name=systemd:/\n0::/\n", "", id64},
		{"podman rootful", "0::/machine.slice/libpod-" + id64 + ".scope/container\n", "", id64},
		{"podman rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id64 + ".scope\n", "", id64},
		{"podman in a service", "0::/system.slice/registry.service/libpod-payload-" + id64 + "\n", "registry.service", id64},
		{"podman's monitor", "0::/machine.slice/libpod-conmon-" + id64 + ".scope\n", "libpod-conmon-" + id64 + ".scope", ""},
		{"kubernetes systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-" + id64 + ".scope\n", "", id64},
		{"kubernetes CRI-O", "0::/kubepods.slice/kubepods-pod1.slice/crio-" + id64 + ".scope\n", "", id64},
		{"kubernetes cgroupfs", "0::/kubepods/besteffort/pod0b9b-11/" + id64 + "\n", "", id64},
		{"kubernetes old containerd", "1:name=systemd:/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:" + id64 + "\n", "", id64},
		{"lxc", "0::/lxc/web/system.slice/nginx.service\n", "", "web"},
		{"lxc payload", "0::/lxc.payload.web/init.scope\n", "", "web"},
		{"lxc monitor", "0::/lxc.monitor.web\n", "", ""},
		{"nspawn scope", `0::/machine.slice/machine-web\x2d1.scope/payload/system.slice/nginx.service` + "\n", "", "web-1"},
		{"nspawn service", "0::/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service\n", "systemd-nspawn@web.service", "web"},
		{"path with a colon", "0::/system.slice/a:b.service\n", "a:b.service", ""},
		{"hash too short", "0::/docker/" + id64[1:] + "\n", "", ""},
		{"empty", "", "", ""},
		{"broken", "garbage\n::\n", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, want := parseCgroup([]byte(test.text)), (slot{test.unit, test.container}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`a\x2db`: "a-b", `a\x2`: `a\x2`, `\xzz`: `\xzz`, `\x`: `\x`, "": "", `\x5cx2d`: `\x2d`} {
		if got := unescape(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("1:name=systemd:/a.service\n0::/docker/" + id64 + "\n"))
	if own, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		f.Add(own)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := parseCgroup(data)
		if strings.ContainsAny(s.unit, "/\n") || len(s.unit)+len(s.container) > 2*len(data) {
			t.Errorf("got %+v", s)
		}
	})
}
