# `make help` lists what there is. PG_CONFIG=/path/to/pg_config chooses the PostgreSQL (15 to 18).

SHELL := bash
.NOTPARALLEL:
.DEFAULT_GOAL := build

# Evaluated when used, since `setup` may first have to install the server. Not exported unless the caller gave it:
# setup tells a choice from a default.
PG_CONFIG ?= $(shell . .ci/lib.sh && find_pg_config)
VERSION = $(shell sed -nE 's/^version = "([^"]+)"$$/\1/p' Cargo.toml | head -n 1)
PG = pg$(shell . .ci/lib.sh && pg_version $(PG_CONFIG))

.PHONY: build # build the extension into target/release
build:
	PGRX_PG_CONFIG_PATH=$(PG_CONFIG) cargo build --release --no-default-features --features $(PG)

.PHONY: install # build the extension and install it into PostgreSQL (or below DESTDIR)
install: build
	PG_CONFIG=$(PG_CONFIG) .ci/install

.PHONY: installcheck # test the installed extension in a cluster of its own
installcheck:
	cargo test -p stormops-tests

# Restarted, since a cluster that runs already has loaded an earlier build.
.PHONY: demo # from a fresh machine to a first storm: set up, install, start a cluster, run the example
demo: setup install
	.ci/cluster restart target/demo
	examples/demo.sh

.PHONY: test # all tests, as CI runs them
test:
	.ci/setup test
	.ci/test

.PHONY: bench # measure the budgets (bench/) on a durable cluster
bench: setup install
	bench/run.sh

.PHONY: reference # write docs/reference.md anew from the catalogue of the installed extension
reference:
	STORMOPS_WRITE=1 cargo test -p stormops-tests --test together reference::the_page

.PHONY: lint # format, clippy and shellcheck, without running a test
lint:
	.ci/setup test
	.ci/test lint

.PHONY: setup # install what is missing on this machine
setup:
	.ci/setup

.PHONY: deb # build a Debian package in target/
deb:
	PG_CONFIG=$(PG_CONFIG) packaging/deb

.PHONY: dist # pack the committed sources into target/
dist:
	mkdir -p target
	git archive --format=tar.gz --prefix=stormops-$(VERSION)/ -o target/stormops-$(VERSION).tar.gz HEAD

.PHONY: clean # remove the demo cluster and all that was built
clean:
	.ci/cluster clean target/demo
	cargo clean

.PHONY: help # this list
help:
	@sed -n 's/^\.PHONY: \([a-z]*\) # /\1\t/p' $(MAKEFILE_LIST) | expand -t 14
