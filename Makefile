# Two commands are all that a fresh clone needs: `make run` and `make test`.

# The build outlives the clone, so that the next clone of CI or of a bisection does not start from nothing.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/trivium-target
TRIVIUM := $(CARGO_TARGET_DIR)/debug/trivium
VENV := $(HOME)/.cache/trivium-venv
DATA ?= demo-data

.PHONY: help run test build ui fmt lint unit clients bench fuzz hostile torture release clean sbom audit

help: ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ui build ## Build Trivium with its web UI and start it with the demo telemetry
	@echo "UI: http://127.0.0.1:4319"
	$(TRIVIUM) serve --demo --data-dir $(DATA)

ui: ## Build the web UI (needs Node.js; without it a placeholder is served)
	./ui/build.sh

# As the tests build it: another selection of packages would compile DataFusion once more, with other features.
build: ## Build the binary
	cargo test --locked --workspace --no-run --test process

test: ## Everything CI checks, with all that it needs
	./tests/run.sh

lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

release: ui ## Build the binary for production
	cargo build --locked --release

hostile: build ## Send the 120 families of bad input to the real binary (tests/hostile/README.md)
	TRIVIUM_BINARY=$(TRIVIUM) cargo test --locked --workspace --lib -- driver:: pressure::

torture: ## Kill, starve and damage the real binary for nine minutes (RELIABILITY.md)
	./tests/torture/run.sh short

fuzz: ## Mutated input for every parser and file format, ten minutes each (see tests/fuzz/README.md)
	cargo run --locked --release -p trivium-fuzz -- --seconds 600

bench: release ## Measure ingest and queries on the telemetry of ../shared/data (see benches/README.md)
	./benches/run.sh

sbom: ## Print the software bill of materials (CycloneDX)
	@python3 deploy/sbom.py

audit: ## Check dependencies: advisories, licences, sources (needs cargo-deny, npm and a network)
	cargo deny check
	cd ui/app && npm audit --package-lock-only
