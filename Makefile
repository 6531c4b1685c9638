# make demo | make test | make peers | make check | make bench | make bench-corpus | make soak | make scan | make fuzz
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

.PHONY: demo test check peers bench bench-corpus soak scan fuzz clean

$(VENV)/.test: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@

$(VENV)/.run: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.dev: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[test,dev]'
	touch $@ $(VENV)/.test $(VENV)/.run

# Two simulated Exchange servers, exproxy before them, clients, and a table of who is served by whom.
demo: $(VENV)/.run
	mkdir -p demo && rm -f demo/twistd.log
	$(BIN)/twistd -n --pidfile= --logfile=demo/twistd.log exproxy --demo -c etc/lab.yaml; rc=$$?; test $$rc -eq 0 -o $$rc -ge 128

test: $(VENV)/.test
	$(BIN)/python -m pytest

peers:
	bash tests/peers/install.sh

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What a unit of work costs exproxy, haproxy and nginx: docs/performance.md. QUICK=1: two minutes instead of ten.
# OUT=FOLDER: where results.md, results.json and the pictures go; ONLY="bulk tcp-short": some of the workloads.
bench: $(VENV)/.test
	$(BIN)/python -m bench $(if $(filter-out 0,$(QUICK)),--quick) $(if $(OUT),--out $(OUT)) $(if $(ONLY),--only $(ONLY))

# One corpus of requests and answers through exproxy, haproxy and nginx: who lets what through. Then what is
# tried on mail proxies, on exproxy and on nginx's (as root, with what `make peers` installs).
bench-corpus: $(VENV)/.test
	$(BIN)/python -m bench.corpus
	$(BIN)/python -m bench.mail

# Mixed load under random faults, and then nothing may be left: docs/soak.md. MINUTES=20, SEED=n repeats a run,
# CLIENTS=40 at a time, WORKERS=n processes of exproxy, OUT=FOLDER for soak.json and exproxy.log.
soak: $(VENV)/.test
	$(BIN)/python -m bench.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(OUT),--out $(OUT))

# sslyze against the TLS profiles; it wants an older cryptography than exproxy has, so it lives apart.
scan: $(VENV)/.test
	test -x $(VENV)-sslyze/bin/sslyze || { $(PYTHON) -m venv $(VENV)-sslyze && $(VENV)-sslyze/bin/python -m pip install -q sslyze; }
	$(BIN)/python -m bench.tls $(VENV)-sslyze/bin/sslyze

# A million mutated RPC packets against everything that reads them, in a few minutes; memory must stay as it is.
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.msrpc.fuzz

clean:
	rm -rf demo $(VENV) $(VENV)-sslyze build dist *.egg-info _trial_temp* .pytest_cache .mypy_cache .ruff_cache .hypothesis
