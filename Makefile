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
TEST_PACKAGES := bash bubblewrap busybox-static catatonit curl dumb-init fish gcc git hostname iproute2 iptables iputils-ping libc6-dev libcap2-bin \
	mandoc mount nftables passt perl-base podman procps python3-yaml redis-tools runc strace systemd tini tmux uidmap util-linux zsh
CHECK_PACKAGES := binutils iproute2 mount python3 strace util-linux valgrind
VM_PACKAGES := busybox-static cpio e2fsprogs mmdebstrap qemu-system-x86
ARM := aarch64-unknown-linux-gnu
ARM_PACKAGES := binutils gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user util-linux
PEERS := bubblewrap catatonit crun dumb-init podman runc tini util-linux
DEB_PACKAGES := debhelper dpkg-dev
# What the packages are tested with.
PACKAGES_PACKAGES := lintian mmdebstrap mount util-linux
# Parts of `make ci`, in order.
PARTS := lint test check test-packages test-vm

# Where `make install` puts what; staged below DESTDIR. The lower-case names are GNU's.
PREFIX ?= /usr/local
DESTDIR ?=
prefix = $(PREFIX)
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
datarootdir = $(prefix)/share
docdir = $(datarootdir)/doc/nsl
mandir = $(datarootdir)/man
bashcompletiondir = $(datarootdir)/bash-completion/completions
fishcompletiondir = $(datarootdir)/fish/vendor_completions.d
zshcompletiondir = $(datarootdir)/zsh/site-functions
PLACES = $(foreach name,DESTDIR bindir docdir mandir bashcompletiondir fishcompletiondir zshcompletiondir,$(name)='$($(name))')
# The time of what is made: that of the commit, where there is one.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),$(shell stat --format=%Y CHANGELOG.md))

.PHONY: help build run install uninstall dist deb test pages lint check check-arm test-packages test-vm fuzz bench \
	bench-peers ci clean rust linker

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

build: linker  ## Build nsl, with nsl-init inside
	cargo build --release

run: build  ## Build nsl and run bash in it, or another command: make run CMD="id"
	@nsl=$$(tests/artifact nsl); exec "$$nsl" run -- $(CMD)

install:  ## Install what `make build pages` made, below PREFIX (/usr/local) and DESTDIR
	@$(PLACES) launcher/packaging/install put

uninstall:  ## Remove what `make install` put there
	@$(PLACES) launcher/packaging/install remove

dist: build pages  ## Make target/dist/nsl-VERSION-ARCH.tar.gz, and SHA256SUMS
	@SOURCE_DATE_EPOCH=$(EPOCH) launcher/packaging/dist $(TARGET_DIR)/dist

deb: build pages  ## Make a Debian package in target/dist, and SHA256SUMS
	@$(INSTALL) $(DEB_PACKAGES)
	@SOURCE_DATE_EPOCH=$(EPOCH) launcher/packaging/deb $(TARGET_DIR)/dist

# The init has no libc: built together with what has one, its features would be theirs.
test: linker  ## Run all tests; as root none may be skipped
	@$(INSTALL) $(TEST_PACKAGES)
	@if [ "$$(id -u)" = 0 ]; then export NSL_TESTS_MUST_RUN=1; fi; \
	    set -x; cargo test; cargo test --package nsl-init

pages: linker  ## Write the man pages, the completions of bash, zsh and fish, and notices to target/pages
	SOURCE_DATE_EPOCH=$(EPOCH) cargo run --package nsl --example pages -- $(TARGET_DIR)/pages

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

test-packages: dist deb  ## Install and remove what `make dist` and `make deb` made in a fresh Debian
	@$(INSTALL) $(PACKAGES_PACKAGES)
	@SOURCE_DATE_EPOCH=$(EPOCH) tests/packages/run.sh $(TARGET_DIR)/dist $(TARGET_DIR)/packages

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

ci:  ## Run lint, test, check, test-packages and test-vm, and tell the time of each
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
