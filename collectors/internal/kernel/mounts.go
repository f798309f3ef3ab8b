//go:build linux && (amd64 || arm64)

package kernel

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// mountsByTracepoint see what goes to and from the programs that serve mounts (FUSE),
// since Linux 6.11.
func mountsByTracepoint() []string {
	return []string{flowsProgOnMountRequest, flowsProgOnMountAnswer}
}

// mountsByFunction are the same by hooks on functions.
func mountsByFunction() []string {
	return []string{flowsProgOnMountCall, flowsProgOnMountPost, flowsProgOnMountEnd}
}

func ofMounts() []string { return slices.Concat(mountsByTracepoint(), mountsByFunction()) }

// chooseMounts leaves out what this kernel has no place for. FUSE may be a module,
// that is known only while it is loaded.
func chooseMounts(spec *ebpf.CollectionSpec, types *btf.Cache) {
	if hasAll[*btf.Typedef](types, "btf_trace_fuse_request_send", "btf_trace_fuse_request_end") {
		drop(spec, mountsByFunction()...)
		return
	}
	drop(spec, mountsByTracepoint()...)
	if !hasAll[*btf.Func](types, "fuse_simple_request", "fuse_simple_background", "fuse_request_end") {
		drop(spec, mountsByFunction()...)
	}
}

// hasAll reports whether the kernel, or FUSE as a module of it, has all the types.
func hasAll[T btf.Type](types *btf.Cache, names ...string) bool {
	for _, open := range []func() (*btf.Spec, error){types.Kernel, func() (*btf.Spec, error) { return types.Module("fuse") }} {
		has, err := open()
		if err != nil {
			continue
		}
		missing := slices.ContainsFunc(names, func(name string) bool {
			var found T
			return has.TypeByName(name, &found) != nil
		})
		if !missing {
			return true
		}
	}
	return false
}

// FollowsMounts reports whether it is seen what goes to and from the programs that
// serve mounts (FUSE).
func (k *Kernel) FollowsMounts() bool {
	seen := func(name string) bool { return k.programs[name] != nil }
	return !slices.ContainsFunc(mountsByTracepoint(), func(name string) bool { return !seen(name) }) ||
		!slices.ContainsFunc(mountsByFunction(), func(name string) bool { return !seen(name) })
}
