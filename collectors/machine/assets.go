package machine

import (
	"fmt"
	"os"

	"cityward/configs"
)

// assets is the city's asset register. A large one takes long to read, so it is
// read anew only when its file has changed.
type assets struct {
	path string // "" none
	info os.FileInfo
	list configs.Register
}

func (a *assets) read() (configs.Register, error) {
	info, err := os.Stat(a.path)
	if err != nil {
		return configs.Register{}, err
	}
	if !info.Mode().IsRegular() {
		return configs.Register{}, fmt.Errorf("read %s: not a regular file", a.path)
	}
	if a.info != nil && os.SameFile(a.info, info) && a.info.ModTime().Equal(info.ModTime()) && a.info.Size() == info.Size() {
		return a.list, nil
	}
	f, err := os.Open(a.path)
	if err != nil {
		return configs.Register{}, err
	}
	defer f.Close()
	list, err := configs.ReadRegister(f)
	if err != nil {
		return configs.Register{}, fmt.Errorf("read %s: %w", a.path, err)
	}
	a.info, a.list = info, list
	return list, nil
}
