package kernel

import "errors"

// Refused stands for a capture that could not be had.
func Refused(err error) *Kernel { return &Kernel{refused: err} }

// Err says why there is no capture; nil if there is one.
func (k *Kernel) Err() error {
	if k == nil {
		return errors.New("the kernel was not asked")
	}
	return k.refused
}
