# Everything a person runs has one name; .ci/run calls the same.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

CARGO_TARGET_DIR ?= target
COMPOSE_GO := github.com/compose-spec/compose-go/v2/cmd@v2.16.2

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## show it all in one process: a broker, both vendors simulated, the connector
	@tests/tools.sh build
	@cargo run --bin wms-connector -- demo

.PHONY: test
test: ## unit, property and integration tests, on the mock cluster and on a real Kafka
	@tests/run.sh

.PHONY: drill-webhooks
drill-webhooks: KILLS ?= 50
drill-webhooks: ## broker and connector die at random under load (KILLS=50), without and with the spool
	@tests/tools.sh build java maven
	WMS_DRILL_KILLS=$(KILLS) WMS_TEST_TIMEOUT=$$((180 + 30 * $(KILLS))) \
		cargo test --locked --test it -- kafka::webhooks::drill --nocapture --test-threads 1

.PHONY: drill
drill: ## the long drill of commands: faults, kills, freezes; the vendors' own books at the end
	@tests/tools.sh build java
	DRILL_COMMANDS=$${DRILL_COMMANDS:-100000} DRILL_KEYS=$${DRILL_KEYS:-1000} \
	DRILL_KILLS=$${DRILL_KILLS:-20} DRILL_LIMIT_MINUTES=$${DRILL_LIMIT_MINUTES:-30} \
	cargo test --locked --test it -- kafka::commands::drill --nocapture

# `make bench BENCH=webhooks` runs one of them.
BENCH ?= stages webhooks commands

.PHONY: bench
bench: ## webhooks against a bare handler, commands against their floor: rates, processor time, memory
	@tests/tools.sh build java maven
	cargo bench $(BENCH:%=--bench %)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_SECONDS (30) or FUZZ_RUNS
	@fuzz/run.sh

.PHONY: check
check: format clippy fuzz-targets docs schemas compose ## what needs no Kafka: format, clippy, fuzz targets, documentation, released schemas, compose file

.PHONY: format
format: ## is the code formatted (cargo fmt does it)
	@tests/tools.sh build rustfmt
	cargo fmt --all --check

.PHONY: clippy
clippy: ## lints, warnings are errors
	@tests/tools.sh build clippy
	cargo clippy --locked --workspace --all-targets -- -D warnings

# A package of its own, which neither clippy nor the tests build: a changed signature breaks it unseen.
.PHONY: fuzz-targets
fuzz-targets: ## do the fuzz targets compile, with their Cargo.lock as it is
	@tests/tools.sh build rustfmt
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir $(CARGO_TARGET_DIR)

.PHONY: docs
docs: ## the documentation of the code, warnings are errors
	@tests/tools.sh build
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: schemas
schemas: ## can every schema read what its last released version wrote
	@tests/tools.sh build
	cargo test --locked --lib avro::schemas

.PHONY: compose
compose: ## is docker-compose.yml valid (the file only: needs no engine, runs nothing)
	@tests/tools.sh go
	@mkdir -p $(CARGO_TARGET_DIR)
	@$(CARGO_TARGET_DIR)/tools/go run $(COMPOSE_GO) docker-compose.yml > $(CARGO_TARGET_DIR)/compose.resolved.yml
	@echo "docker-compose.yml is valid"
