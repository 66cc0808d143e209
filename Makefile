# make ui           MLflow over the sweeps, for this machine alone, until Ctrl-C
# make picture      the README's picture, from the quickstart's report
# make notebooks    the notebooks, run again on the quickstart and stored with what they show
# make quick        the tests that start no processes: for every save
# make test         install and run all tests, two files at a time: about twenty minutes on two cores
# make check        format, lint, types and all tests; CI runs this
# make bench        what convolutions and orchestration cost, and whether a thousand trials slow it down: about an hour
# make fuzz         are 2,000 malformed inputs each refused by one line? about two minutes
# make chaos        is anything ever lost? 200 times harmed, about two hours
# make validate     do the statistics keep what they promise? by simulation, about ten minutes
PYTHON ?= python3
RUN = .venv/bin/python
# one file at a time for each of two processes, the long files first
TEST = $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: quickstart ui picture notebooks quick test check bench chaos fuzz validate
quickstart: .venv/installed
	$(RUN) -m runners.sweep sweeps/quickstart.yaml

ui: .venv/installed
	.venv/bin/sweeps ui

picture: quickstart
	cp results/quickstart/forest.svg sweeps/quickstart.svg

notebooks: quickstart
	$(RUN) -m tests.notebooks

quick: .venv/installed
	$(TEST) -m "not slow"

test: .venv/installed
	$(TEST)

check: .venv/installed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright
	$(TEST)

bench: .venv/installed
	OMP_NUM_THREADS=1 $(RUN) -m tests.bench_convolutions
	OMP_NUM_THREADS=1 $(RUN) -m tests.bench_training
	$(RUN) -m tests.bench
	$(RUN) -m tests.bench_start
	$(RUN) -m tests.scale

chaos: .venv/installed
	$(RUN) -m tests.chaos

fuzz: .venv/installed
	$(RUN) -m tests.fuzz

validate: .venv/installed
	$(RUN) -m tests.validate

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
