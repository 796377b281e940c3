# What one does with nsl; `make help` lists it. Each target installs the Debian packages that it needs, and says so.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CMD ?= bash
ARGS ?=
TIME ?= 60
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
INSTALL := tests/install-packages
# What the tests use of the machine.
TEST_PACKAGES := bash busybox-static catatonit curl dumb-init fish gcc git hostname iproute2 iptables iputils-ping libc6-dev libcap2-bin \
	mandoc mount nftables passt perl-base podman procps python3-yaml redis-tools runc strace systemd tini tmux uidmap util-linux zsh
CHECK_PACKAGES := binutils iproute2 mount python3 strace util-linux valgrind
VM_PACKAGES := busybox-static cpio e2fsprogs mmdebstrap qemu-system-x86
ARM := aarch64-unknown-linux-gnu
ARM_PACKAGES := binutils gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user util-linux
PEERS := bubblewrap catatonit crun dumb-init podman runc tini util-linux
# Parts of `make ci`, in order.
PARTS := lint test check test-vm

.PHONY: help build run test pages lint check check-arm test-vm fuzz bench bench-peers ci clean rust linker

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

build: linker  ## Build nsl, with nsl-init inside
	cargo build --release

run: build  ## Build nsl and run bash in it, or another command: make run CMD="ps -e"
	@nsl=$$(tests/artifact nsl); exec "$$nsl" run -- $(CMD)

# The init has no libc: built together with what has one, its features would be theirs.
test: linker  ## Run all tests; as root none may be skipped
	@$(INSTALL) $(TEST_PACKAGES)
	@if [ "$$(id -u)" = 0 ]; then export NSL_TESTS_MUST_RUN=1; fi; \
	    set -x; cargo test; cargo test --package nsl-init

pages: linker  ## Write the man pages, and the completions of bash, zsh and fish, to target/pages
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} cargo run --package nsl --example pages -- $(TARGET_DIR)/pages

lint: linker  ## Check the format, and all that clippy finds
	cargo fmt --all --check
	rustfmt --edition 2024 --check {init,shared}/fuzz/fuzz_targets/*.rs
	cargo clippy --all-targets -- -D warnings
	cargo clippy --package nsl-init --all-targets -- -D warnings

check: build  ## Check what the project promises: sizes, static programs, no stray unsafe, what a start takes
	@$(INSTALL) $(CHECK_PACKAGES)
	@tests/check-files "$$(tests/artifact nsl)" "$$(tests/artifact nsl-init)"
	@tests/check-counts "$$(tests/artifact nsl)" "$$(tests/artifact nsl-init)"

check-arm: rust  ## Build all for aarch64, run the init in qemu's user mode, check the files
	@$(INSTALL) $(ARM_PACKAGES)
	@[ -d "$$(rustc --print target-libdir --target $(ARM))" ] || rustup target add $(ARM)
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc cargo build --release --target $(ARM)
	@tests/check-arm "$$(tests/artifact nsl $(ARM))" "$$(tests/artifact nsl-init $(ARM))"
	@tests/check-files "$$(tests/artifact nsl $(ARM))" "$$(tests/artifact nsl-init $(ARM))"

test-vm: build  ## Run nsl on Debian's kernel, and nsl-init as /init, in virtual machines
	@$(INSTALL) $(VM_PACKAGES)
	@tests/vm/run.sh "$$(tests/artifact nsl)" "$$(tests/artifact nsl-init)" $(TARGET_DIR)/vm

fuzz: linker  ## Fuzz what reads bytes of others for 60 seconds, or longer: make fuzz TIME=600
	@tests/fuzz $(TIME) $(TARGET_DIR)/fuzz

# ARGS="--quick", or "--svg docs/bench.svg" for the plot that the README shows, or "--scale 1000,3000".
bench: linker  ## Measure nsl, and the peers that are installed
	cargo bench --package nsl --bench bench -- $(ARGS)

bench-peers:  ## Install the peers that Debian has
	@$(INSTALL) $(PEERS)

ci:  ## Run lint, test, check and test-vm, and tell the time of each
	@export NSL_TESTS_MUST_RUN=1; times=; \
	for part in $(PARTS); do \
	    echo "== make $$part"; start=$$SECONDS; \
	    $(MAKE) --no-print-directory $$part </dev/null || { echo "== make $$part failed after $$((SECONDS - start)) s" >&2; exit 1; }; \
	    times="$$times $$part $$((SECONDS - start)) s,"; \
	done; \
	echo "== all passed:$${times%,}"

clean:  ## Remove all that was built or downloaded
	cargo clean

rust:
	@command -v cargo >/dev/null || { echo "make: there is no cargo (hint: install Rust 1.91 or newer, with rustup)" >&2; exit 1; }

# A static nsl needs libc's archive, which comes with the compiler's development package.
linker: rust
	@command -v cc >/dev/null || $(INSTALL) gcc libc6-dev
