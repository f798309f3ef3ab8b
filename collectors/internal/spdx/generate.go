package spdx

//go:generate sh -c "go run generator.go \"$(go mod download -json github.com/github/go-spdx/v2@v2.8.0 | sed -n 's/.*\"Dir\": \"\\(.*\\)\".*/\\1/p')\""
