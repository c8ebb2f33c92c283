# SPDX-License-Identifier: MPL-2.0
# The only makefile; `make help` lists the targets.

CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
SANITIZE ?=
PREFIX   ?= /usr
DESTDIR  ?=

# Each compiler and each set of sanitizers has its own build folder.
comma := ,
VARIANT := $(notdir $(CC))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
B := build/$(VARIANT)

PACKAGES := libzmq libczmq libsodium libisal libsystemd
CLIENT_PACKAGES := jansson
PROJECTOR_PACKAGES := sqlite3
EXAMPLE_PACKAGES := zlib
TEST_PACKAGES := cmocka

# One by one: what only tests need may be missing.
pkg_cflags = $(foreach p,$(1),$(shell pkg-config --cflags $(p) 2>/dev/null))
pkg_libs   = $(foreach p,$(1),$(shell pkg-config --libs $(p)))

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
    -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef \
    -Wvla -Wcast-align
CFLAGS   ?= -O2 -g
HARDEN   := -fstack-protector-strong -fPIE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
ALL_CPPFLAGS := -D_GNU_SOURCE -Icommon -Idaemons -Iclients -Iinclude -Itests -Ibench $(CPPFLAGS)
ALL_CFLAGS := -std=gnu11 $(WARNINGS) $(HARDEN) $(CFLAGS) \
    $(call pkg_cflags,$(PACKAGES) $(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES) $(EXAMPLE_PACKAGES) $(TEST_PACKAGES))
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -pthread $(LDFLAGS)
ifneq ($(SANITIZE),)
ALL_CFLAGS  += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=$(SANITIZE)
endif
LIBS := $(call pkg_libs,$(PACKAGES)) -ltpl

# ---- what there is ---------------------------------------------------------

DAEMONS := $(patsubst daemons/%/main.c,%,$(wildcard daemons/*/main.c))
COMMANDS := $(patsubst clients/%/main.c,%,$(wildcard clients/*/main.c))

COMMON_SRC := $(wildcard common/*/*.c)
DAEMON_SRC := $(filter-out %/main.c,$(wildcard daemons/*/*.c))
CLIENT_SRC := $(filter-out %/main.c clients/libcairn/%,$(wildcard clients/*/*.c))
TESTLIB_SRC := $(wildcard tests/lib/*.c)
EXAMPLE_LIB_SRC := $(wildcard examples/*/lib/*.c)
MAIN_SRC := $(wildcard daemons/*/main.c clients/*/main.c)

UNIT := $(patsubst %.c,%,$(wildcard tests/unit/test_*.c))
CRASH := $(patsubst %.c,%,$(wildcard tests/crash/test_*.c))
SYSTEM := $(patsubst %.c,%,$(wildcard tests/system/test_*.c))
SYSTEM_SH := $(wildcard tests/system/*.sh)
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH := $(patsubst bench/%.c,%,$(wildcard bench/bench_*.c))

# The public library: its own sources, and those of ours that it is made of.
LIBCAIRN_MAJOR := $(shell sed -n 's/^.define CAIRN_VERSION_MAJOR //p' include/cairn/client.h)
LIBCAIRN_MINOR := $(shell sed -n 's/^.define CAIRN_VERSION_MINOR //p' include/cairn/client.h)
LIBCAIRN_SRC := $(filter-out %/conformance.c,$(wildcard clients/libcairn/*.c)) \
    $(wildcard clients/c/*.c) \
    $(patsubst %,common/base/%.c,crc32c err log text uuid) \
    common/store/record.c \
    $(patsubst %,common/wire/%.c,append check image outcome projection query rows sock tcp)
LIBCAIRN_PACKAGES := libzmq libsodium libisal
EXAMPLES := $(patsubst %.c,%,$(wildcard examples/*/*.c))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

LIBCAIRN_SO := $(B)/lib/libcairn.so.$(LIBCAIRN_MAJOR).$(LIBCAIRN_MINOR)
LIBCAIRN := $(LIBCAIRN_SO) $(B)/lib/libcairn.a $(B)/lib/pkgconfig/cairn.pc
LIBCAIRN_OBJ := $(patsubst %.c,$(B)/pic/%.o,$(LIBCAIRN_SRC))
CONFORMANCE := $(B)/clients/libcairn/conformance
CLIENT_TEST_BIN := $(CONFORMANCE) $(CONFORMANCE)-static $(B)/tests/unit/test_vectors_libcairn

BIN := $(DAEMONS:%=$(B)/bin/cairn-%) $(COMMANDS:%=$(B)/bin/%)
EXAMPLE_BIN := $(EXAMPLES:%=$(B)/%)
FAILALLOC_BIN := $(patsubst %,$(B)/tests/crash/test_%,nth_failure backup memory)
TEST_BIN := $(filter-out $(FAILALLOC_BIN),$(UNIT:%=$(B)/%) $(CRASH:%=$(B)/%) $(SYSTEM:%=$(B)/%))

# `make V=1` shows whole commands.
ifeq ($(V),)
say = @echo '  $(1)  $(patsubst $(B)/%,%,$@)';
else
say =
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
export SEED SEEDS FIRST_SEED
.PHONY: all examples tests bugs check check-unit check-crash check-system fuzz \
    fuzz-build bench bench-peers lint format install uninstall clean help

## all: the daemons, the command, the client library and the examples
all: $(BIN) $(LIBCAIRN) $(EXAMPLE_BIN)

$(B)/libcommon.a: $(call obj,$(COMMON_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

# Behaviour without main(), so that tests can call it.
$(B)/libdaemons.a: $(call obj,$(DAEMON_SRC) $(CLIENT_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

$(B)/libtest.a: $(call obj,$(TESTLIB_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

# The same as libcommon.a, but its allocations come from tests/lib/failalloc.c.
ALLOC_CALLS := malloc calloc realloc reallocarray aligned_alloc free
$(B)/libcommon-failalloc.a: $(B)/libcommon.a
	$(call say,OBJCOPY)objcopy $(foreach f,$(ALLOC_CALLS),--redefine-sym $(f)=failalloc_$(f)) $< $@

# What the programs of one example share.
$(B)/libexamples.a: $(call obj,$(EXAMPLE_LIB_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(B)/bin/cairn-%: $(B)/obj/daemons/%/main.o $(B)/libdaemons.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(PROJECTOR_PACKAGES))

$(COMMANDS:%=$(B)/bin/%): $(B)/bin/%: $(B)/obj/clients/%/main.o $(B)/libdaemons.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(CLIENT_PACKAGES))

$(EXAMPLE_BIN): $(B)/%: $(B)/obj/%.o $(B)/libexamples.a $(B)/libdaemons.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES) $(EXAMPLE_PACKAGES))

$(TEST_BIN): $(B)/%: $(B)/obj/%.o $(B)/libtest.a $(B)/libdaemons.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(TEST_PACKAGES) $(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES))

$(FAILALLOC_BIN): $(B)/%: $(B)/obj/%.o $(B)/libtest.a $(B)/libcommon-failalloc.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(TEST_PACKAGES))

# The test of power cuts with one mistake of store/bug.h built in: the objects
# that can hold it are made again, and come before those of libcommon.a.
BUGS := $(filter-out BUG_NONE,$(shell sed -n 's/^.define \(BUG_[A-Z_]*\) [0-9].*/\1/p' common/store/bug.h))
BUG_SRC := $(shell grep -l '"store/bug.h"' common/store/*.c)
BUG_BIN := $(BUGS:%=$(B)/bugs/%/test_power_cut)

define bug_rules
$(B)/bugs/$(1)/%.o: common/store/%.c
	@mkdir -p $$(@D)
	$$(call say,CC)$$(CC) $$(ALL_CPPFLAGS) -DCAIRN_BUG=$(1) $$(ALL_CFLAGS) -MMD -MP -c $$< -o $$@

$(B)/bugs/$(1)/test_power_cut: $(B)/obj/tests/crash/test_power_cut.o \
    $(BUG_SRC:common/store/%.c=$(B)/bugs/$(1)/%.o) $(B)/libtest.a $(B)/libcommon.a
	$$(call say,LD)$$(CC) $$(ALL_LDFLAGS) $$^ -o $$@ $$(LIBS) $$(call pkg_libs,$$(TEST_PACKAGES))
endef
$(foreach bug,$(BUGS),$(eval $(call bug_rules,$(bug))))

-include $(shell find $(B)/obj $(B)/bugs -name '*.d' 2>/dev/null)

# ---- the client library ----------------------------------------------------

# Only what libcairn.map names can be seen from outside, of the archive too.
# Functions of ours that it does not call, and so czmq, are left out.
$(B)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -fPIC -fvisibility=hidden \
	    -ffunction-sections -fdata-sections -MMD -MP -c $< -o $@

$(LIBCAIRN_SO): $(LIBCAIRN_OBJ) clients/libcairn/libcairn.map
	@mkdir -p $(@D)
	$(call say,LD)$(CC) -shared $(filter-out -pie,$(ALL_LDFLAGS)) -Wl,--gc-sections \
	    -Wl,-z,nodelete $(if $(SANITIZE),,-Wl,-z,defs) \
	    -Wl,-soname,libcairn.so.$(LIBCAIRN_MAJOR) \
	    -Wl,--version-script=clients/libcairn/libcairn.map \
	    $(LIBCAIRN_OBJ) -o $@ $(call pkg_libs,$(LIBCAIRN_PACKAGES))
	@ln -sf $(@F) $(@D)/libcairn.so.$(LIBCAIRN_MAJOR)
	@ln -sf $(@F) $(@D)/libcairn.so

$(B)/lib/libcairn.a: $(LIBCAIRN_OBJ) clients/libcairn/libcairn.map
	@mkdir -p $(@D)
	@sed -n 's/^ *\(cairn_[a-z_]*\);/\1/p' clients/libcairn/libcairn.map >$(B)/pic/symbols
	$(call say,AR)ld -r --gc-sections $$(sed 's/^/-u /' $(B)/pic/symbols) \
	    $(LIBCAIRN_OBJ) -o $(B)/pic/libcairn.o
	@objcopy --keep-global-symbols=$(B)/pic/symbols -w --strip-unneeded-symbol='!cairn_*' \
	    --strip-unneeded-symbol='*' $(B)/pic/libcairn.o
	@rm -f $@
	@ar rcs $@ $(B)/pic/libcairn.o

$(B)/lib/pkgconfig/cairn.pc: clients/libcairn/cairn.pc.in Makefile
	@mkdir -p $(@D)
	@sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(LIBCAIRN_MAJOR).$(LIBCAIRN_MINOR)|' $< >$@

$(CONFORMANCE): $(B)/obj/clients/libcairn/conformance.o $(LIBCAIRN_SO)
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $< -o $@ -L$(B)/lib -lcairn \
	    -Wl,-rpath,'$$ORIGIN/../../lib' $(call pkg_libs,$(CLIENT_PACKAGES))

$(CONFORMANCE)-static: $(B)/obj/clients/libcairn/conformance.o $(B)/lib/libcairn.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ \
	    $(call pkg_libs,$(LIBCAIRN_PACKAGES) $(CLIENT_PACKAGES))

# The vectors of the protocol once more, against what is in the library.
$(B)/tests/unit/test_vectors_libcairn: $(B)/obj/tests/unit/test_vectors.o $(LIBCAIRN_OBJ) $(B)/libtest.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ \
	    $(filter-out -ltpl,$(LIBS)) $(call pkg_libs,$(TEST_PACKAGES))

-include $(shell find $(B)/obj $(B)/pic -name '*.d' 2>/dev/null)

# ---- tests -----------------------------------------------------------------

## tests: build every test, run none
tests: all $(TEST_BIN) $(FAILALLOC_BIN)

## bugs: the store with one mistake each, for tests/crash/seeded-bugs.sh
bugs: $(BUG_BIN)

tests: all $(TEST_BIN) $(CLIENT_TEST_BIN) $(if $(SANITIZE),,$(B)/bench/bench_append)

## check: unit, crash and system tests, with the counts at the end
check: all tests bugs
	@scripts/run-tests $(B) unit crash system

## check-unit check-crash check-system: one kind of them
check-crash: bugs
check-unit check-crash check-system: check-%: all tests
	@scripts/run-tests $(B) $*

# ---- fuzzing (clang, libFuzzer) --------------------------------------------

FUZZ_B := build/fuzz
FUZZ_CFLAGS := -std=gnu11 -O1 -g -D_GNU_SOURCE -Icommon -Idaemons -Iclients -Iinclude -Itests \
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
    $(call pkg_cflags,$(PACKAGES) $(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES) $(TEST_PACKAGES))
FUZZ_SECONDS ?= 10
FUZZ_BIN := $(FUZZ:%=$(FUZZ_B)/%)

$(FUZZ_B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)clang $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@

FUZZ_LIB := $(COMMON_SRC) $(DAEMON_SRC) $(CLIENT_SRC) $(TESTLIB_SRC)

$(FUZZ_B)/libfuzz.a: $(patsubst %.c,$(FUZZ_B)/obj/%.o,$(FUZZ_LIB))
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

FUZZ_LINK = $(LIBS) $(call pkg_libs,$(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES) $(TEST_PACKAGES))

$(FUZZ_BIN): $(FUZZ_B)/%: $(FUZZ_B)/obj/tests/fuzz/%.o $(FUZZ_B)/obj/tests/fuzz/input.o $(FUZZ_B)/libfuzz.a
	$(call say,LD)clang -fsanitize=fuzzer,address,undefined $^ -o $@ $(FUZZ_LINK)

# Makes the inputs that the targets begin with.
$(FUZZ_B)/seeds: $(FUZZ_B)/obj/tests/fuzz/seeds.o $(FUZZ_B)/libfuzz.a
	$(call say,LD)clang -fsanitize=address,undefined $^ -o $@ $(FUZZ_LINK)

-include $(shell find $(FUZZ_B)/obj -name '*.d' 2>/dev/null)

## fuzz-build: build the fuzz targets
fuzz-build: $(FUZZ_BIN) $(FUZZ_B)/seeds

## fuzz: run every fuzz target for FUZZ_SECONDS (10) under ASan and UBSan
fuzz: fuzz-build
	@scripts/run-fuzz $(FUZZ_B) $(FUZZ_SECONDS) $(FUZZ)

# ---- benchmarks ------------------------------------------------------------

BENCH_BIN := $(BENCH:%=$(B)/bench/%)

$(B)/libbench.a: $(call obj,$(filter-out bench/bench_%,$(wildcard bench/*.c)))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

$(BENCH_BIN): $(B)/bench/%: $(B)/obj/bench/%.o $(B)/libbench.a $(B)/libtest.a $(B)/libdaemons.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES) $(TEST_PACKAGES))

## bench: rates next to the machine's own floors, in minutes (BENCH_OPTIONS=--full: in hours)
bench: all $(BENCH_BIN)
	@bench/run $(BENCH_OPTIONS) $(B)

# Redis and PostgreSQL: their client libraries are needed here and nowhere else.
PEERS_SRC := $(wildcard bench/peers/*.c)
PEERS_PACKAGES := hiredis libpq

$(call obj,$(PEERS_SRC)): ALL_CFLAGS += $(call pkg_cflags,$(PEERS_PACKAGES))

$(B)/bench/bench_peers: $(call obj,$(PEERS_SRC)) $(B)/libbench.a $(B)/libtest.a $(B)/libdaemons.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(LIBS) $(call pkg_libs,$(CLIENT_PACKAGES) $(PROJECTOR_PACKAGES) $(TEST_PACKAGES) $(PEERS_PACKAGES))

## bench-peers: the same appends into Cairn, Redis and PostgreSQL (scripts/deps bench)
bench-peers: all $(B)/bench/bench_peers
	@bench/run --peers $(BENCH_OPTIONS) $(B)

# ---- order -----------------------------------------------------------------

C_FILES := $(shell git ls-files '*.c' '*.h' 2>/dev/null)

## lint: format, include direction, cppcheck, shellcheck, clang-tidy
lint:
	@scripts/lint

## format: lay out every C file as .clang-format says
format:
	clang-format -i $(C_FILES)

# ---- installing ------------------------------------------------------------

## install: programs, library, units, configuration and manuals, below DESTDIR/PREFIX
install: all
	@scripts/install "$(B)" "$(DESTDIR)" "$(PREFIX)"

## uninstall: all that install has put there, but no changed configuration
uninstall:
	@scripts/install --remove "$(DESTDIR)" "$(PREFIX)"

## clean: remove every build
clean:
	rm -rf build

## help: this list
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST)) | \
	    awk -F': ' '{ printf "  %-42s %s\n", $$1, $$2 }'
	@echo
	@echo "  CC=clang, SANITIZE=address,undefined or SANITIZE=thread choose a variant;"
	@echo "  each has its own folder below build/.  SEEDS=n has each random test of"
	@echo "  check-crash run n seeds, SEED=x only one; TEST=name runs some files."
