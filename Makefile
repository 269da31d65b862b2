# Tine: build, run, test, install. Needs a Rust toolchain, make and gcc; `make test` also wants redis-server
# and redis-tools (installed by apt where that is allowed) and redis-py (by pip).
#
#   make run                 release build, then the server with redis.conf
#   make test                all tests, in stages, each with its time
#   make lab                 what forks cost here: five minutes, then a report with pictures
#   make install PREFIX=/usr/local [DESTDIR=...] [REDIS_NAMES=1]

CARGO ?= cargo
PREFIX ?= /usr/local
CONF ?= redis.conf
# Seconds of `make fuzz` and of `make soak`, for each program of theirs.
FUZZ_SECONDS ?= 300
# The same of `make asan`.
ASAN_SECONDS ?= 10
SOAK_SECONDS ?= 1800
# Kills of each policy and seeds of each scenario of `make crash`.
CRASH_KILLS ?= 200
CRASH_SEEDS ?= 50
# Alternating rounds of `make bench`, and more of its options: BENCH_ARGS="--only memory".
ROUNDS ?= 3
BENCH_ARGS ?=
# Experiment of `make lab` (a built-in name or a file, with options), and where its report goes.
LAB ?= default
LAB_OUT ?= $(TARGET_DIR)/lab

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET_DIR)/release
BINDIR := $(DESTDIR)$(PREFIX)/bin
# Examples: configuration, units, crontab; and the pages that they name.
SHAREDIR := $(DESTDIR)$(PREFIX)/share/tine

# `--test x` for each tests/<prefix>*.rs.
test_programs = $(patsubst tests/%.rs,--test %,$(wildcard $(addprefix tests/,$(addsuffix *.rs,$(1)))))

.PHONY: build run test test-redis bench lab lint install fuzz asan crash soak clean

build:
	$(CARGO) build --release --bins

run: build
	$(RELEASE)/tine-server $(CONF)

test: test-redis
	@sh tests/stages.sh

# The real server is what the interop tests compare with.
test-redis:
	@sh tests/install-redis.sh
	@sh tests/install-engines.sh
	@sh tests/install-redis-py.sh || true

# The end-to-end comparison with redis-server (needs redis-server and redis-tools; says so when they are missing).
# The in-process benches are `cargo bench --bench micro`, the open-loop load program `cargo bench --bench load`.
bench:
	$(CARGO) bench --bench compare -- --rounds $(ROUNDS) $(BENCH_ARGS)

# Fork and copy-on-write, measured and drawn (docs/fork-and-cow.md), beside redis-server where it is installed.
lab: build
	$(RELEASE)/tine-lab run $(LAB) --out $(LAB_OUT)

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings

install: build
	install -d $(BINDIR)
	for program in $(notdir $(basename $(wildcard src/bin/tine-*.rs))); do \
		install -m 755 $(RELEASE)/$$program $(BINDIR)/$$program || exit 1; \
	done
	install -d $(SHAREDIR)/systemd $(SHAREDIR)/cron $(SHAREDIR)/docs
	install -m 644 redis.conf README.md CHANGELOG.md ARCHITECTURE.md LICENSE $(SHAREDIR)
	for file in $(wildcard contrib/systemd/* contrib/cron/*); do \
		sed 's|/usr/local/|$(PREFIX)/|g' $$file > $(SHAREDIR)/$${file#contrib/} || exit 1; \
	done
	install -d $(SHAREDIR)/docs/img
	install -m 644 docs/*.md $(SHAREDIR)/docs
	install -m 644 docs/img/* $(SHAREDIR)/docs/img
ifeq ($(REDIS_NAMES),1)
	ln -sf tine-server $(BINDIR)/redis-server
	for tool in check-rdb check-aof; do \
		if [ -e $(BINDIR)/tine-$$tool ]; then ln -sf tine-$$tool $(BINDIR)/redis-$$tool; \
		else echo "no tine-$$tool in this version: redis-$$tool is not linked"; fi; \
	done
endif

# The seeded mutators, longer than `make test` runs them.
fuzz:
	@test -n "$(call test_programs,fuzz)" || { echo "make fuzz: there is no tests/fuzz*.rs"; exit 1; }
	TINE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test $(call test_programs,fuzz) -- --nocapture

# AddressSanitizer over the unit tests, the model of the keyspace, the mutators, the corpus and loading. Needs a
# nightly toolchain and a target folder of its own; not part of `make test`. The slabs of the data region tell the
# sanitizer what is live (src/sys/data_alloc/poison.rs). The system allocator serves the rest.
ASAN_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
ASAN_TESTS = --lib $(call test_programs,fuzz corpus keyspace_model replay)
asan:
	@$(CARGO) +nightly --version > /dev/null 2>&1 || \
		{ echo "make asan: there is no nightly toolchain (rustup toolchain install nightly)"; exit 1; }
	RUSTFLAGS="-Zsanitizer=address --cfg tine_asan" CARGO_TARGET_DIR=$(TARGET_DIR)/asan TINE_FUZZ_SECONDS=$(ASAN_SECONDS) \
		ASAN_OPTIONS=detect_leaks=0 $(CARGO) +nightly test --target $(ASAN_HOST) --no-default-features $(ASAN_TESTS)

# The kill loop and the crash-state explorer, longer than `make test` runs them.
crash:
	TINE_CRASH_KILLS=$(CRASH_KILLS) TINE_CRASH_SEEDS=$(CRASH_SEEDS) $(CARGO) test $(call test_programs,crash) -- --nocapture

soak:
	@test -n "$(call test_programs,soak)" || { echo "make soak: there is no tests/soak*.rs"; exit 1; }
	TINE_SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test $(call test_programs,soak) -- --nocapture

clean:
	$(CARGO) clean
