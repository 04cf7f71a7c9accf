# What a developer types. `make demo` and `make test` set up a fresh Debian machine by themselves.

PYTHON ?= python3
BIN    := .venv/bin
SOURCES := proxy config analysis tests loadtests
# Programs that are started take the compiled packages, as an installation has them; pytest itself has the sources.
SHIPPED := PYTHONSAFEPATH=1 PYTHONPATH="$(CURDIR)/build/shipped:$(CURDIR)"
# One more than the cores, since much of a system test is waiting.
MANY    := --numprocesses $(shell expr $$(nproc) + 1) --dist worksteal
SUDO   := $(if $(filter 0,$(shell id -u)),,sudo)
# One at a time: what is made side by side would find the database of packages locked.
apt     = $(SUDO) flock Makefile sh -c 'apt-get update && RUNLEVEL=1 apt-get install -y --no-install-recommends $(1)'
# Images set it to be small. Here hundreds of programs are started, and each would compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test prepared check servers wheel bench profile soak prove picture lock clean

help:  ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /make \1 \t/p' $(MAKEFILE_LIST)

setup: .venv/ready  ## Build .venv from requirements.lock

demo: .venv/ready  ## Promote a good model and abort a bad one (ARGS="--json FILE --keep")
	$(BIN)/understudy demo $(ARGS)

test:  ## Everything: the static checks, then the tests (ARGS="-k NAME")
	$(MAKE) --jobs 2 --output-sync=target prepared
ifdef ARGS
	$(SHIPPED) $(BIN)/pytest $(ARGS)
else
	$(SHIPPED) $(BIN)/pytest $(MANY) -m "not alone"
	$(SHIPPED) $(BIN)/pytest -m alone $$(grep -rl --include 'test_*.py' 'pytest.mark.alone' tests)
	$(SHIPPED) $(BIN)/pytest $(MANY) -o pythonpath= tests/proxy/data tests/proxy/ledger
endif

# What takes longest begins first: each of them has one core.
prepared: servers build/shipped/ready check

check: .venv/ready  ## Import contracts, lint, format, types
	$(BIN)/lint-imports
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

# Real programs that the tests run. RUNLEVEL=1 keeps Debian from starting them as services.
servers:
	@PATH="$$PATH:/usr/sbin"; command -v curl && command -v nginx && command -v chromium && \
	  ls /usr/lib/postgresql/*/bin/initdb || $(call apt,curl nginx-light chromium postgresql)

wheel: build/shipped/ready  ## Build build/dist/*.whl, its request path compiled to C by mypyc
	@ls build/dist/*.whl

# The wheel is built from the source distribution, so that nothing compiled is ever left among the sources.
build/shipped/ready: .venv/ready $(shell find proxy config analysis -name '*.py' -o -path '*/static/*')
	@command -v gcc && $(BIN)/python -c 'import sys, sysconfig, pathlib; \
	  sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || \
	  $(call apt,gcc libc6-dev python3-dev)
	rm -rf build/shipped build/dist && mkdir -p build
	HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m build --no-isolation --outdir build/dist . >build/wheel.log 2>&1 || \
	  { tail -n 40 build/wheel.log; exit 1; }
	$(BIN)/python -m zipfile -e build/dist/*.whl build/shipped
	$(BIN)/python -m compileall -q build/shipped
	touch $@

bench: .venv/ready build/bench/ready build/shipped/ready  ## What the proxy costs, beside nginx, haproxy, Envoy and aiohttp (ARGS="idle")
	$(SHIPPED) $(BIN)/python -m loadtests $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m loadtests.judging)

profile: .venv/ready build/bench/ready build/shipped/ready  ## Where a worker's time goes: perf, strace, valgrind (ARGS="64KiB")
	$(SHIPPED) $(BIN)/python -m loadtests.profile $(ARGS)

soak: .venv/ready build/bench/ready build/shipped/ready  ## Ten minutes of mixed load with reloads (ARGS="--minutes 60")
	$(SHIPPED) $(BIN)/python -m loadtests soak $(ARGS)

# The peers and what draws the picture. What cannot be installed is left out of the comparison, which says so. Debian
# starts nginx and haproxy as services where there is systemd: `systemctl disable --now nginx haproxy` stops them.
build/bench/ready: loadtests/requirements.txt
	@PATH="$$PATH:/usr/sbin"; command -v wrk && command -v nginx && command -v haproxy || \
	  $(call apt,wrk nginx-light haproxy) || echo "bench: not all peers are here"
	$(PYTHON) -m venv build/bench
	build/bench/bin/python -m pip install --quiet --require-hashes -r loadtests/requirements.txt && touch $@ || \
	  echo "bench: Envoy and the picture are left out"

prove: .venv/ready build/prove/ready  ## The promises of the statistics, by simulation: docs/proofs.md (ARGS="--scale 0.2")
	build/prove/bin/python -m tests.prove.gbstats_numbers
	$(BIN)/python -m tests.prove $(ARGS)

picture: .venv/ready servers  ## Take the picture of the dashboard anew: docs/images/dashboard.png
	$(BIN)/python -m tests.support.picture

# What draws the pictures, and the other implementation that ours is compared with.
build/prove/ready: tests/prove/requirements.txt
	$(PYTHON) -m venv build/prove
	build/prove/bin/python -m pip install --quiet --require-hashes -r tests/prove/requirements.txt && touch $@

# Debian splits `venv` off its Python: ensurepip is what is missing then.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call apt,python3 python3-venv)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	touch $@

# The compiler of the locks is no part of the environment that it locks.
UV      = build/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

lock:  ## Renew both lock files to the newest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear build/uv
	build/uv/bin/pip install --quiet uv
	$(UV) --extra demo --extra postgresql --group dev pyproject.toml --output-file requirements.lock
	$(UV) --constraint requirements.lock pyproject.toml --output-file requirements-runtime.lock
	rm -rf build/uv

clean:  ## Remove what was built
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
