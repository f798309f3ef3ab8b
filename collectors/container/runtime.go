package container

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
)

// Bounds of what runtimes write down.
const (
	sizeState   = 16 << 20
	mostSpaces  = 64 // namespaces of containerd
	shownLength = 256
)

// image is what a runtime says of a container.
type image struct{ id, runtime, name, image, digest string }

// identify finds what the runtime has written down of the container that a process
// is in. id is that of its control group, "" where there is none.
func identify(machine *host.Host, pid int, id string) image {
	mounts, _, err := machine.ReadMounts(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		mounts = &host.MountTable{}
	}
	if !hash(id) {
		if id = mountedID(mounts); id == "" {
			return image{}
		}
	}
	kind, storage := storageOf(mounts)
	dockers, storages := []string{"/var/lib/docker"}, []string{"/var/lib/containers/storage"}
	switch kind {
	case "overlay2":
		dockers = append(dockers, storage)
	case "overlay":
		storages = append(storages, storage)
	}
	for _, dir := range dockers {
		if found, ok := docker(machine, dir, id); ok {
			return found
		}
	}
	for _, dir := range storages {
		if found, ok := containersStorage(machine, dir, id); ok {
			return found
		}
	}
	return containerd(machine, id)
}

// hash reports whether an id is one that Docker, Podman, containerd and CRI-O make,
// and fit to be part of a path.
func hash(id string) bool { return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" }

// mountedID gives the id of a container by the files that runtimes mount into it
// from a directory of that name.
func mountedID(mounts *host.MountTable) string {
	for i := range mounts.Mounts {
		m := &mounts.Mounts[i]
		switch m.Target {
		case "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv":
		default:
			continue
		}
		parts := strings.Split(m.Root, "/")
		for j := 1; j < len(parts); j++ {
			if hash(parts[j]) && (parts[j-1] == "containers" || parts[j-1] == "overlay-containers") {
				return parts[j]
			}
		}
	}
	return ""
}

// storageOf gives the directory in which the container's layers are, by the one
// that its root is written to.
func storageOf(mounts *host.MountTable) (kind, dir string) {
	for i := range mounts.Mounts {
		m := &mounts.Mounts[i]
		if m.Target != "/" || m.Type != "overlay" {
			continue
		}
		layer, ok := strings.CutSuffix(m.Option("upperdir"), "/diff")
		if all := path.Dir(layer); ok && path.IsAbs(all) {
			return path.Base(all), path.Dir(all)
		}
	}
	return "", ""
}

func text(raw string) string { return host.Text(raw, shownLength) }

func read(machine *host.Host, file string, into func([]byte) error) bool {
	data, err := machine.ReadFile(file, sizeState)
	return err == nil && into(data) == nil
}

// docker reads config.v2.json of a container, and repositories.json for the digest
// by which its image was fetched; of an image that was made here the id serves.
func docker(machine *host.Host, dir, id string) (image, bool) {
	found := image{id: id, runtime: "docker"}
	ok := read(machine, dir+"/containers/"+id+"/config.v2.json", func(data []byte) error { return found.parseDocker(data) })
	if ok {
		read(machine, dir+"/image/overlay2/repositories.json", func(data []byte) error { return found.parseRepositories(data) })
	}
	return found, ok
}

func (i *image) parseDocker(data []byte) error {
	var file struct {
		Name, Image string
		Config      struct{ Image string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	i.name, i.image, i.digest = text(strings.TrimPrefix(file.Name, "/")), text(file.Config.Image), text(file.Image)
	return nil
}

// parseRepositories finds, among the names of images, the one with a digest.
func (i *image) parseRepositories(data []byte) error {
	var file struct {
		Repositories map[string]map[string]string
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	var digests []string
	for _, names := range file.Repositories {
		for reference, id := range names {
			if _, digest, ok := strings.Cut(reference, "@"); ok && id == i.digest {
				digests = append(digests, text(digest))
			}
		}
	}
	if len(digests) > 0 {
		i.digest = slices.Min(digests)
	}
	return nil
}

// containersStorage reads containers.json and images.json, in which Podman and
// CRI-O keep theirs.
func containersStorage(machine *host.Host, dir, id string) (image, bool) {
	found := image{id: id, runtime: "podman"}
	imageID := ""
	ok := read(machine, dir+"/overlay-containers/containers.json", func(data []byte) (err error) {
		imageID, err = found.parseContainers(data)
		return err
	})
	if !ok || imageID == "" {
		return image{}, false
	}
	read(machine, dir+"/overlay-images/images.json", func(data []byte) error { return found.parseImages(data, imageID) })
	found.digest = cmp.Or(found.digest, text("sha256:"+imageID))
	return found, true
}

// parseContainers also gives the id of the image, "" where the container is not
// listed. CRI-O's have a pod.
func (i *image) parseContainers(data []byte) (imageID string, err error) {
	var file []struct {
		ID       string   `json:"id"`
		Names    []string `json:"names"`
		Image    string   `json:"image"`
		Metadata string   `json:"metadata"` // JSON in a string
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return "", err
	}
	for _, c := range file {
		if c.ID != i.id {
			continue
		}
		var more struct {
			Image string `json:"image-name"`
			Pod   string `json:"pod-id"`
		}
		if err := json.Unmarshal([]byte(c.Metadata), &more); err != nil {
			return "", err
		}
		if i.image = text(more.Image); more.Pod != "" {
			i.runtime = "cri-o"
		}
		if len(c.Names) > 0 {
			i.name = text(c.Names[0])
		}
		return c.Image, nil
	}
	return "", nil
}

func (i *image) parseImages(data []byte, imageID string) error {
	var file []struct {
		ID     string   `json:"id"`
		Digest string   `json:"digest"`
		Names  []string `json:"names"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	for _, listed := range file {
		if listed.ID != imageID {
			continue
		}
		i.digest = text(listed.Digest)
		if i.image == "" && len(listed.Names) > 0 {
			i.image = text(listed.Names[0])
		}
	}
	return nil
}

// containerd reads the annotations that Kubernetes' runtimes give to a container,
// in config.json of the OCI runtime specification. The digest is not among them.
func containerd(machine *host.Host, id string) image {
	found := image{id: id}
	const tasks = "/run/containerd/io.containerd.runtime.v2.task"
	dir, err := machine.OpenDir(tasks)
	if err != nil {
		return found
	}
	defer dir.Close()
	spaces, _ := dir.Readdirnames(mostSpaces)
	slices.Sort(spaces)
	for _, space := range spaces {
		if read(machine, tasks+"/"+space+"/"+id+"/config.json", func(data []byte) error { return found.parseBundle(data) }) {
			found.runtime = "containerd"
			return found
		}
	}
	return found
}

func (i *image) parseBundle(data []byte) error {
	var file struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	i.image = text(file.Annotations["io.kubernetes.cri.image-name"])
	i.name = text(file.Annotations["io.kubernetes.cri.container-name"])
	return nil
}
