package installed

import (
	"bufio"
	"errors"
	"io"
)

// Lines calls visit with each line of in, without its end, until that says no
// more. Of a line that does not fit the buffer only the beginning is given. The
// line is valid during the call.
func Lines(in *bufio.Reader, visit func(line []byte) bool) error {
	for rest := false; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return err
		}
		ended := errors.Is(err, io.EOF)
		if !rest && (len(line) > 0 || !ended) {
			text := line
			if err == nil {
				text = text[:len(text)-1]
			}
			if len(text) > 0 && text[len(text)-1] == '\r' {
				text = text[:len(text)-1]
			}
			if !visit(text) {
				return nil
			}
		}
		if ended {
			return nil
		}
		rest = err != nil
	}
}
