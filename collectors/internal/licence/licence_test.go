package licence

import "testing"

func TestPatterns(t *testing.T) {
	if _, err := newScanner(); err != nil {
		t.Fatal(err)
	}
}
