# GNU make and a Python 3.11 or newer are all that must be there: the rest comes into .venv.

PYTHON ?= python3
PORT ?= 8080
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# Any Python there may be has to understand this.
TOO_OLD = import sys; v = sys.version_info; v >= (3, 11) or sys.exit("aiosess needs Python 3.11 or newer; \
	this is %d.%d.%d. Give PYTHON=python3.12" % v[:3])

# Each worker has a PostgreSQL of its own. A worker that is idle takes tests from the end of the list of another, so tests of
# one file mostly stay together and share what it starts. WORKERS=0 runs everything in one process.
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses=8 --dist=worksteal
QUICK := $(addprefix tests/,token client web house) $(addprefix tests/test_,bounded_map.py config.py event_hook.py events.py)

.PHONY: help demo test quick check mutants bench soak clean
.DEFAULT_GOAL := help

help:
	@echo "make demo          start the demo on http://localhost:8080 with a PostgreSQL of its own"
	@echo "  PORT=9000        on another port"
	@echo "  TLS=1            over https, with a certificate made for it"
	@echo "  FAST=1           tokens are replaced every 30 s, to see how a theft is found"
	@echo "make test          lint, check types and layers, run every test: 5 minutes on two cores"
	@echo "  PYTHON=…         with another Python; give VENV=.venv-3.13 too, to keep the usual one"
	@echo "make quick         the same with the pure and the web tests only: 90 seconds"
	@echo "make mutants       change aiosess/_token and the SQL in small ways, each of which a test has to notice"
	@echo "make bench         measure against other ways, into bench/results/ (needs wrk and redis-server)"
	@echo "make soak          ten minutes of faults; SOAK=--thieves adds thieves"
	@echo "make clean         remove what these made; the demo's data stay"

# exec hands Ctrl-C's signal and the exit code straight to the demo.
demo: $(VENV)/.demo
	@exec $(BIN)/python -m demo --port $(PORT) $(if $(filter-out 0,$(TLS)),--tls) $(if $(filter-out 0,$(FAST)),--fast)

# AIOSESS_NIGHTLY=1 makes tests search deeper, which takes hours, and runs all of tests/browsers in Firefox and WebKit.
# A measured coverage is of the whole suite only.
test: check
	@echo "pytest" && $(PYTEST) --cov --cov-report=term-missing:skip-covered

quick: check
	@echo "pytest $(QUICK)" && $(PYTEST) -q $(QUICK)

check: $(VENV)/.test
	@echo "ruff check" && $(BIN)/ruff check --quiet .
	@echo "ruff format" && $(BIN)/ruff format --check --quiet .
	@echo "mypy" && $(BIN)/mypy --no-error-summary
	@echo "import-linter" && $(BIN)/lint-imports --no-logo --no-cache

# mutmut remembers earlier verdicts, also those that a new test would change: each run starts from nothing. It changes
# functions only; the second program changes what stands outside of them, the third the statements in sql/.
mutants: $(VENV)/.mutation
	@rm -rf mutants && $(BIN)/python -m mutmut run && $(BIN)/python -m mutmut results
	@$(BIN)/python -m tools.module_mutants && $(BIN)/python -m tools.sql_mutants

# A stamp per extra, renewed when what is to be installed changes. While pip works, .unfinished stands in the folder:
# when it is still there at the next start, or Python doesn't start, the environment was left half made and goes.
$(VENV)/.%: pyproject.toml constraints.txt
	@if [ -e $(VENV)/.unfinished ] || ! $(BIN)/python -c pass 2>/dev/null; then rm -rf $(VENV); fi
	@[ -x $(BIN)/pip ] || $(PYTHON) -c '$(TOO_OLD)'
	@mkdir -p $(VENV) && touch $(VENV)/.unfinished
	@[ -x $(BIN)/pip ] || { echo "making $(VENV)" && $(PYTHON) -m venv $(VENV); }
	@echo "installing aiosess[$*]" && $(PIP) install -c constraints.txt -e '.[$*]'
	@rm $(VENV)/.unfinished && touch $@

# wrk and redis-server are Debian packages. BENCH holds options, "--help" among them.
bench: $(VENV)/.bench
	@$(BIN)/python -m bench $(BENCH)

# SOAK holds options, "--help" among them.
soak: $(VENV)/.bench
	@$(BIN)/python -m bench.soak $(SOAK)

clean:
	@rm -rf $(VENV) .venv-* build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache
	@rm -rf .mypy_cache .pytest_cache .ruff_cache mutants
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
