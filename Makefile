# make help lists the targets. Tools are pinned in packaging/tools/go.mod.

goreleaser := go run github.com/goreleaser/goreleaser/v2@v2.15.0

.PHONY: help build run test lint race bench fuzz release-snapshot

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

build: ## bin/cityward, static
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -o bin/cityward ./cmd/cityward

run: build ## look at this machine, then serve what is seen on loopback
	bin/cityward scan
	@echo 'Serving until Ctrl-C; unless a configuration says otherwise on http://127.0.0.1:19777/metrics'
	bin/cityward run

test: ## install what the tests need (as root), lint, run every test
	packaging/install-test-deps.sh
	$(MAKE) lint
	packaging/test.sh

lint: ## formatting, vet, staticcheck, golangci-lint, shellcheck
	packaging/lint.sh

race: ## the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race ./...

bench: ## speed and allocations
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## every parser against hostile input, FUZZTIME each (10s)
	packaging/fuzz.sh

release-snapshot: ## archives and the Debian package below dist/; publishes nothing
	$(goreleaser) release --snapshot --clean --skip=publish
