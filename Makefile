# make build    the programs (release) and the node's static agent
# make test     everything that the gate checks: format, lints, man pages, unit tests, then real boots (root, Debian 12)
# make demo     three nodes PXE-boot from a master, on this machine, with progress and a table at the end (root)
# make bench    sizes and speeds, as in README (root)
# make bench-swarm  one room, beside its peers: HTTP, multicast, BitTorrent clients (root); takes two hours, QUICK=1 ten
#               minutes, BENCH= its own options (see: target/release/boottorrent-bench swarm --help)
# make sim      the simulated rooms: agent/sim/results.txt, wire.txt, and large.txt (up to 2,000 nodes, an hour of one core)
# make fuzz     every parser and state machine that the network can reach, SECONDS= each (default: ten minutes)
# make install  DESTDIR= PREFIX=/usr
# make clean-lab  removes what tests and demo keep: kernel, OS images, leftovers of killed runs

PREFIX ?= /usr
DESTDIR ?=
CARGO ?= cargo
CARGO_FLAGS ?= --locked
TARGET = x86_64-unknown-linux-gnu
AGENT = target/$(TARGET)/node/boottorrent-agent
DAEMONS = dhcp ra tftp tracker seed log
RUST_VERSION = $(shell sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)

.PHONY: build agent test lint unit fuzz-short integration sim demo bench bench-swarm fuzz install images packages cargo clean-lab

build: cargo agent
	$(CARGO) build $(CARGO_FLAGS) --release --workspace --exclude boottorrent-agent

# glibc inside: the node has no libraries
agent: cargo
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build $(CARGO_FLAGS) --profile node --target $(TARGET) -p boottorrent-agent

# The images take one core for minutes, and lints leave one idle.
test: packages cargo
	$(MAKE) -j2 lint images
	$(MAKE) unit fuzz-short integration

lint: packages cargo
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	mandoc -T lint -W warning man/*

unit: packages cargo
	$(CARGO) test $(CARGO_FLAGS) --workspace --exclude boottorrent-tests
	$(CARGO) test $(CARGO_FLAGS) -p boottorrent-tests --lib --bins

# One at a time: every test has the two cores, the clocks and the wire for itself.
integration: packages cargo agent images
	$(CARGO) build $(CARGO_FLAGS) --workspace --exclude boottorrent-agent
	$(CARGO) test $(CARGO_FLAGS) -p boottorrent-tests --test it -- --test-threads=1

demo: packages build images
	target/release/boottorrent-demo

bench: packages build images
	target/release/boottorrent-bench

bench-swarm: packages build
	CARGO='$(CARGO)' tests/bench-contestants
	target/release/boottorrent-bench swarm $(if $(QUICK),--quick) $(BENCH)

# A few seconds each find what a change has broken outright; the rest is for make fuzz.
fuzz-short: packages cargo
	tests/fuzz/run 3

# Large pages: of the time for 2,000 nodes with all their links a quarter went into page walks.
sim: cargo
	$(CARGO) build $(CARGO_FLAGS) --release -p boottorrent-sim
	@echo "load $$(cut -d' ' -f1-3 /proc/loadavg)"
	target/release/boottorrent-sim --table | tee agent/sim/results.txt
	target/release/boottorrent-sim wire --table | tee agent/sim/wire.txt
	bash -c 'set -o pipefail; time GLIBC_TUNABLES=glibc.malloc.hugetlb=1 target/release/boottorrent-sim --large | tee agent/sim/large.txt'

SECONDS ?= 600
fuzz: cargo
	tests/fuzz/run $(SECONDS)

images: packages
	tests/fetch-kernel target/lab/kernel
	tests/images/small target/lab/os/small target/lab/kernel 48
	tests/images/program target/lab/os/program
	tests/images/grub target/lab/os/grub
	tests/images/debian-live target/lab/os/debian

install:
	@test -x $(AGENT) -a -x target/release/boottorrent-gen || { echo "run make build first" >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib/boottorrent
	install -m 755 target/release/boottorrentctl $(DESTDIR)$(PREFIX)/bin
	install -m 755 target/release/boottorrent-gen $(DAEMONS:%=target/release/boottorrent-%) $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(AGENT) $(DESTDIR)$(PREFIX)/lib/boottorrent
	for page in man/*.[0-9]; do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; \
	done

packages:
	@tests/install-packages

cargo:
	@have=$$($(CARGO) --version 2>/dev/null | cut -d' ' -f2); \
	if [ -z "$$have" ]; then \
		echo "cargo is missing: install Rust $(RUST_VERSION) or later from https://rustup.rs" >&2; exit 1; \
	elif [ "$$(printf '%s\n' $(RUST_VERSION) $$have | sort -V | head -n 1)" != $(RUST_VERSION) ]; then \
		echo "cargo is $$have, Rust $(RUST_VERSION) or later is needed: rustup update stable, or https://rustup.rs" >&2; exit 1; \
	fi

clean-lab:
	! test -x target/release/boottorrent-demo || target/release/boottorrent-demo --sweep
	rm -rf target/lab
