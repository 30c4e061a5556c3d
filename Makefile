# Every target works from a clean clone. What a target needs, it fetches or builds; what it cannot get, it names in one line.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/qualgent/qgjob/internal/cli.Version=$(VERSION)"
GOTEST := go run ./script/check/gotest
BROWSER := QGJOB_REQUIRE_BROWSER=1 QGJOB_CHROMIUM="$$(script/setup/chromium)"
ADB := QGJOB_REQUIRE_ADB=1 QGJOB_ADB="$$(script/setup/adb)"
FAKETIME := QGJOB_FAKETIME="$$(script/setup/faketime)"
POSTGRES := QGJOB_REQUIRE_POSTGRES=1 QGJOB_POSTGRES="$$(script/setup/postgres)"
BENCH ?= .
LINT := .bin/golangci-lint
ACTIONLINT := .bin/actionlint
ACT := .bin/act

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: ## build bin/qgjob, static and without paths of this machine
	@script/setup/versions
	@$(BUILD) -o bin/qgjob ./cmd/qgjob
	@echo "built bin/qgjob $(VERSION)"

.PHONY: setup
setup: ## install what demo and test need: npm packages, a Chromium
	@script/setup/versions
	@script/setup/npm
	@script/setup/chromium >/dev/null

.PHONY: setup-postgres
setup-postgres:
	@script/setup/postgres >/dev/null

.PHONY: setup-faketime
setup-faketime:
	@script/setup/faketime >/dev/null

.PHONY: setup-adb
setup-adb:
	@script/setup/adb >/dev/null

.PHONY: demo
demo: setup build ## run real tests of two app versions on this machine and show the results
	@QGJOB_CHROMIUM="$$(script/setup/chromium)" script/demo

.PHONY: test
test: setup setup-postgres setup-adb ## run all tests but the slow ones; a skipped browser, PostgreSQL or adb test fails
	@$(BROWSER) $(POSTGRES) $(ADB) $(GOTEST) -must-run '(?i)chromium|postgres|no adb|aapt' -may-wait 'QGJOB_SLOW|run make test-appwright' -- ./...

# Slow tests have Slow or Kill in their names and look at QGJOB_SLOW. Running none of them is a failure.
.PHONY: test-slow
test-slow: setup setup-postgres setup-faketime $(ACT) ## run the slow tests too: fault rounds (ROUNDS=10), whole workflows
	@$(BROWSER) $(POSTGRES) $(FAKETIME) QGJOB_REQUIRE_ACT=1 QGJOB_SLOW=1 QGJOB_FAULT_ROUNDS=$(or $(ROUNDS),10) \
		$(GOTEST) -must-run '(?i)chromium|postgres|QGJOB_SLOW' -- -count=1 -timeout 25m -run 'Slow|Kill' ./...

# SEED=… plays a printed seed again. A thousand rounds take about two hours.
.PHONY: faults
faults: setup-postgres setup-faketime ## break whole farms, ROUNDS=1000 times, and print what became of their jobs
	@script/setup/versions
	@$(POSTGRES) $(FAKETIME) QGJOB_SLOW=1 QGJOB_FAULTS=all QGJOB_SEED=$(SEED) QGJOB_FAULT_ROUNDS=$(or $(ROUNDS),1000) \
		go test -count=1 -timeout 24h -v ./faults

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME=10s
	@script/setup/versions
	@script/fuzz $(or $(FUZZTIME),10s)

# A registry that is out of reach is said loudly and is no failure, unless QGJOB_REQUIRE_APPWRIGHT=1.
.PHONY: test-appwright
test-appwright: ## drive a real AppWright and Appium against made-up devices (290 MB of npm packages, once)
	@script/setup/versions
	@code=0; script/setup/appwright || code=$$?; \
		if [ $$code -eq 75 ] && [ "$(QGJOB_REQUIRE_APPWRIGHT)" != 1 ]; then \
			echo "test-appwright: NOT TESTED: the npm registry is out of reach, so no AppWright test has run"; exit 0; fi; \
		[ $$code -eq 0 ] || exit 1; \
		QGJOB_APPWRIGHT=1 $(GOTEST) -must-run 'Appwright' -- -count=1 -timeout 25m -run 'Appwright' ./script

.PHONY: bench
bench: ## run the benchmarks (BENCH=regexp)
	@script/setup/versions
	@go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# The second part asks an independent checker, where its source lies beside the project.
.PHONY: bench-schedule
bench-schedule: ## play bench/workloads under every policy; worse than the prototype fails
	@script/setup/versions
	@go run ./bench/schedule
	@if [ -d ../shared/schedcheck ]; then go test -count=1 -run '^TestChecker$$' ./bench/schedule; \
		else echo "schedcheck is not beside the project: its figures were not compared"; fi

.PHONY: check
check: check-format check-vet check-arch check-budgets check-lint check-actions check-cross check-modules ## all that is checked without running the program
	@echo "check: all well"

.PHONY: check-format
check-format:
	@echo "check: format"
	@found=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r ls -d 2>/dev/null | xargs -r gofmt -l); \
		[ -z "$$found" ] || { echo "not formatted, run make fmt:"; echo "$$found"; exit 1; }

.PHONY: check-vet
check-vet:
	@echo "check: vet"
	@go vet ./...

.PHONY: check-arch
check-arch:
	@echo "check: import rules"
	@go test -count=1 -run '^TestArchitecture' .

.PHONY: check-budgets
check-budgets:
	@echo "check: budgets"
	@go run ./script/check/budgets

.PHONY: check-lint
check-lint: $(LINT)
	@echo "check: lint"
	@$(LINT) run --allow-parallel-runners ./...

.PHONY: check-actions
check-actions:
	@echo "check: workflows and the action"
	@$(MAKE) $(ACTIONLINT)
	@$(ACTIONLINT)
	@bash -n script/action/install

.PHONY: check-cross
check-cross:
	@for os in darwin windows; do echo "check: vet for $$os"; GOOS=$$os CGO_ENABLED=0 go vet ./...; done

.PHONY: check-modules
check-modules:
	@echo "check: modules"
	@go mod verify
	@go mod tidy -diff >/dev/null || { echo "go.mod or go.sum is not tidy: run go mod tidy"; exit 1; }

# govulncheck leaves with 3 when it found something; any other failure means that its database could not be asked.
.PHONY: vuln
vuln: $(LINT) ## look for known faults in the dependencies; needs the vulnerability database
	@code=0; .bin/govulncheck ./... || code=$$?; \
		case $$code in 0) ;; 3) exit 1 ;; *) echo "vuln: NOT CHECKED: govulncheck could not run (see above)" ;; esac

.PHONY: release
release: ## build what a release holds into dist/: programs of six platforms, checksums, parts lists
	@script/setup/versions
	@go run ./script/release -version "$(VERSION)" -commit "$$(git rev-parse HEAD 2>/dev/null || true)"

.PHONY: fmt
fmt: ## format the Go code
	@git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r ls -d 2>/dev/null | xargs -r gofmt -w

.PHONY: clean
clean: ## remove what was built; node_modules and the Go caches stay
	@rm -rf bin .bin dist

# The linters have modules of their own, so that the program's go.mod stays short. actionlint stands apart: it and golangci-lint
# need two versions of one YAML module that do not fit together.
$(LINT): tools/go.mod tools/go.sum
	@echo "building golangci-lint and govulncheck (once)"
	@go build -C tools -o ../.bin/ tool
	@touch $@

$(ACTIONLINT): tools/actionlint/go.mod tools/actionlint/go.sum
	@echo "building actionlint (once)"
	@go build -C tools/actionlint -o ../../.bin/ tool
	@touch $@

# act runs workflows without GitHub. It is pinned apart, like the linters, and only built for the slow tests.
$(ACT): tools/act/go.mod tools/act/go.sum
	@echo "building act (once)"
	@go build -C tools/act -o ../../.bin/ tool
	@touch $@
