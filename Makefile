# SPDX-License-Identifier: Apache-2.0
# mpscope: `make help` lists what can be made.

SHELL := /bin/bash
.DEFAULT_GOAL := all

# The Swift toolchain's clang has the BPF back end; so has Debian's.
CLANG ?= $(shell command -v clang || echo /opt/swift/usr/bin/clang)
SWIFT ?= swift
# lld: it is quick, and has nothing to say about mktemp in the runtime's own library.
SWIFT_FLAGS := -Xswiftc -use-ld=lld
PREFIX ?= /usr/local
ARCH := $(shell uname -m)

PROGRAM := .build/release/mpscope
GUEST := .build/release/vm-guest
VERSION := $(shell sed -n 's/.*static let version = "\(.*\)"/\1/p' Sources/mpscope/Main.swift)
ARCHIVE := .build/dist/mpscope-$(VERSION)-$(ARCH).tar.gz
GENERATED := Sources/CEvent/generated
# The programs for mainline; those for the out-of-tree stack, by the ring buffer and by the perf buffer.
OBJECTS := $(addprefix $(GENERATED)/,mpscope.bpf.o multipath.bpf.o multipath-perf.bpf.o)
# For tests of the perf buffer on kernels that need none.
TEST_OBJECT := $(GENERATED)/transport.bpf.o
BPF_SOURCES := $(wildcard bpf/*.c bpf/*.h bpf/*/*.h)
# Where the registers of a kprobe's arguments are.
BPF_ARCH := $(patsubst x86_64,x86,$(patsubst aarch64,arm64,$(ARCH)))
BPF_FLAGS := -target bpf -D__TARGET_ARCH_$(BPF_ARCH) -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter -Werror -ffile-prefix-map=$(CURDIR)=. \
	-Ibpf -I/usr/include/$(ARCH)-linux-gnu

PACKAGES := libbpf-dev libelf-dev zlib1g-dev libmnl-dev nettle-dev pkg-config iproute2 nftables \
	python3 python3-jsonschema
TEST_PACKAGES := bpftool procps util-linux nginx mptcpize
VM_PACKAGES := qemu-system-x86 kmod busybox-static nginx mptcpize
# For the stand-in of an out-of-tree stack, a kernel module.
STANDIN_PACKAGES := gcc-12 make binutils dwarves
DIST_PACKAGES := gcc libc6-dev binutils
BENCH_PACKAGES := bpftrace libbpf-tools gcc linux-libc-dev

.PHONY: all deps bpf build demo test test-rebuild vm-test dist dist-test bench lint format document install clean help

all: build ## build the program: .build/release/mpscope

deps: ## install the Debian packages that building and testing need (does nothing when they are there)
	@Tools/deps.sh $(PACKAGES)

$(GENERATED)/%.bpf.o: bpf/%.bpf.c $(BPF_SOURCES) Makefile | deps
	@mkdir -p $(GENERATED)
	$(CLANG) $(BPF_FLAGS) -c $< -o $@.new
	@mv $@.new $@

# What kernels from 4.14 on take: no global variables, no younger instructions.
$(GENERATED)/multipath.bpf.o $(GENERATED)/multipath-perf.bpf.o: BPF_FLAGS += -DMPS_NO_GLOBALS -mcpu=v2
$(GENERATED)/multipath-perf.bpf.o: BPF_FLAGS += -DMPS_PERF_BUFFER
$(GENERATED)/multipath-perf.bpf.o: bpf/multipath.bpf.c $(BPF_SOURCES) Makefile | deps
	@mkdir -p $(GENERATED)
	$(CLANG) $(BPF_FLAGS) -c $< -o $@.new
	@mv $@.new $@

# As for kernels that have no newer instructions.
$(TEST_OBJECT): Tests/ProbesTests/Programs/transport.bpf.c $(BPF_SOURCES) Makefile | deps
	@mkdir -p $(GENERATED)
	$(CLANG) $(BPF_FLAGS) -mcpu=v2 -c $< -o $@.new
	@mv $@.new $@

# SwiftPM sees this header, not the objects: it carries their hash, and changes only with it.
bpf: deps $(OBJECTS) ## compile the BPF programs
	@sha256sum $(OBJECTS) | sed 's/\(.*\)  \(.*\)/\/\* \1 \2 \*\//' > $(GENERATED)/objects.h.new
	@cmp -s $(GENERATED)/objects.h.new $(GENERATED)/objects.h \
		&& rm $(GENERATED)/objects.h.new || mv $(GENERATED)/objects.h.new $(GENERATED)/objects.h

build: bpf
	$(SWIFT) build -c release --static-swift-stdlib $(SWIFT_FLAGS) --product mpscope

demo: build ## trace every scenario live, in network namespaces of its own (root)
	$(PROGRAM) demo

bench: build ## what tracing costs, next to others, in one run (root, some six minutes; BENCH="--quick")
	@Tools/deps.sh $(BENCH_PACKAGES)
	/usr/bin/python3 Tests/Bench/bench.py $(BENCH)

test: build $(TEST_OBJECT) ## every test: unit, property, golden, live on this kernel (root), vm-test and dist-test
	@Tools/deps.sh $(TEST_PACKAGES)
	$(SWIFT) build --build-tests $(SWIFT_FLAGS)
	MPSCOPE_BINARY=$(abspath $(PROGRAM)) $(SWIFT) test --skip-build --no-parallel
	Tests/Build/rebuild.sh
	$(MAKE) vm-test dist-test

# KERNEL=6.12, or KERNEL=vmlinuz MODULES=dir for any other; BACKEND= and SCENARIO= take several words.
# KERNEL=vmlinuz BTF=file STACK=multipath-tcp.org: one of another MPTCP stack, and nothing but that.
vm-test: build ## every scenario on Debian's kernels in QEMU (KERNEL= MODULES= BACKEND= SCENARIO= narrow it; BTF= STACK=)
	@Tools/deps.sh $(VM_PACKAGES) $(STANDIN_PACKAGES)
	$(SWIFT) build -c release --static-swift-stdlib $(SWIFT_FLAGS) --product vm-guest
	/usr/bin/python3 Tests/VM/run.py --program $(PROGRAM) --guest $(GUEST) \
		$(addprefix --kernel ,$(KERNEL)) $(addprefix --modules ,$(MODULES)) \
		$(addprefix --btf ,$(BTF)) $(addprefix --stack ,$(STACK)) \
		$(addprefix --backend ,$(BACKEND)) $(addprefix --scenario ,$(SCENARIO)) $(VM_TEST)

dist: build ## one archive that needs nothing but a kernel: .build/dist/mpscope-VERSION-ARCH.tar.gz
	@Tools/deps.sh $(DIST_PACKAGES)
	@SWIFT=$(SWIFT) /usr/bin/python3 Tools/dist/dist.py --program $(PROGRAM) --output $(dir $(ARCHIVE))

dist-test: dist ## the archive on Debian's 6.1 in QEMU, with nothing else there (KERNEL= another)
	@Tools/deps.sh $(VM_PACKAGES)
	/usr/bin/python3 Tests/VM/run.py --dist $(ARCHIVE) \
		$(addprefix --kernel ,$(or $(KERNEL),6.1)) $(addprefix --modules ,$(MODULES))

lint: ## style, warnings as errors, and what the documents are made from
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	Tests/Build/lint.sh

format: ## bring the Swift sources into shape
	$(SWIFT) format --in-place --recursive Sources Tests Package.swift

document: build ## make the documents in docs/ that come from tables anew
	$(PROGRAM) state-machine > docs/state-machine.md
	$(PROGRAM) reasons > docs/reasons.md
	$(PROGRAM) counters > docs/counters.md
	$(PROGRAM) settings > docs/sysctls.md

install: build ## install the program to PREFIX (default /usr/local)
	install -D -m 0755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/mpscope

clean: ## remove everything that was built
	rm -rf .build $(GENERATED)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12
