package file

import "cityward/collectors/internal/licence"

// texts is for all tests, since to load patterns takes a second.
var texts = licence.New("")
