# Every command sets up .venv first, once. A bare machine needs Python 3.11, 3.12 or 3.13 with pip and venv; the committed results were made on 3.11.
# PYTHON names the interpreter. Where it is not named: the one of a finished .venv, else the first of these that is there.
PYTHON ?=
JOBS   ?= 2
PROFILE = $(or $(OMAC_PROFILE),quick)
VENV   := .venv
BIN    := $(CURDIR)/$(VENV)/bin
RUN    := PATH="$(BIN):$$PATH" OMP_NUM_THREADS=1 PYTHONHASHSEED=0 OMAC_PROGRESS=0

.PHONY: quick test fast lint repro figures verify bench site site-packages setup made install lock clean

quick: setup          ## the whole story on one map in about ten minutes; OMAC_PROFILE=smoke: in one, and only to see that it runs
	@mkdir -p build
	$(RUN) OMAC_PROFILE=$(PROFILE) papermill notebooks/00_quickstart.ipynb build/00_quickstart.ipynb --cwd notebooks
	@$(RUN) python -m omac table build/$(PROFILE)/results.csv $(patsubst %,--against %,$(wildcard data/$(PROFILE)/results.csv))

test: setup           ## every test, then every notebook
	$(RUN) pytest
	$(RUN) pytest --nbval notebooks/

fast: setup           ## the tests that train nothing and start no processes, and which take longest: under a minute
	$(RUN) pytest -m "not slow" --durations 5

lint: setup           ## what ruff says of the Python files and the notebooks
	$(RUN) ruff check
	$(RUN) ruff format --check

repro: setup          ## the study: resumes where it stopped, JOBS cells side by side; DASK=local or a scheduler's address: on Dask
	$(RUN) dvc repro pull subsample code
	$(RUN) OMAC_PROGRESS=1 python -m omac study --jobs $(JOBS) $(if $(DASK),--dask $(DASK))
	$(RUN) dvc repro
	$(MAKE) figures

figures: setup        ## every table and figure of notebooks 04 to 09 from the committed results, without training
	$(RUN) jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/0[456789]_*.ipynb

verify: setup         ## do data, battles and a cell come out here as committed? about ten minutes
	$(RUN) python -m omac verify --jobs $(JOBS)

bench: setup          ## speed, as ratios of one run: benchmarks/results.md
	$(RUN) python -c "from omac.study.prepare import ensure; [ensure(f'smax-{m}-medium-100') for m in ('6h_vs_8z', '5m_vs_6m', '3s5z_vs_3s6z', 'corridor')]"
	$(RUN) python benchmarks/run.py

site: setup site-packages ## the documentation as a web site in build/site: docs/, notebooks, tables, the API reference; its packages come with the first run
	$(RUN) python docs/site/build.py

site-packages: setup  ## what the site is built with
	@cmp -s docs/site/requirements.txt $(VENV)/.site || { $(BIN)/uv pip install -q --python $(BIN)/python -r docs/site/requirements.txt && cp docs/site/requirements.txt $(VENV)/.site; }

CANDIDATES = $(or $(PYTHON),$(if $(wildcard $(VENV)/.ready),$(VENV)/bin/python) python3.11 python3.12 python3.13 python3)
IN_RANGE   = -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
VERSION    = -c 'import platform; print(platform.python_version())' 2>/dev/null
MINOR      = -c 'import sys; print(".".join(map(str, sys.version_info[:2])))' 2>/dev/null
MADE_OF    = { $(VENV)/bin/python $(MINOR); cat requirements.txt pyproject.toml; }
SAME       = test "$$($(1) $(MINOR))" = "$$($(VENV)/bin/python $(MINOR))"

# .venv/.ready is written last and holds what .venv was made of: the Python version, the lock and pyproject.toml.
READY      = $(MADE_OF) | cmp -s - $(VENV)/.ready $(if $(PYTHON),&& $(call SAME,$(PYTHON)))
AGAIN      = $(MAKE) --no-print-directory made

# Of two that set up at once the second waits, and then finds it done. It waits for a lock on this Makefile, which ends with whoever holds it.
# Where there is no flock (macOS), or the disk knows no locks, nobody waits.
setup:
	@if $(READY); then :; else flock -n Makefile true 2>/dev/null; case $$? in \
	  0) flock Makefile $(AGAIN) ;; \
	  1) echo "waiting: another make sets up $(VENV); this one goes on when it ends"; flock Makefile $(AGAIN) ;; \
	  *) $(AGAIN) ;; \
	esac; fi

made:
	@if $(READY); then :; else $(MAKE) --no-print-directory install; fi

# No .ready means that a set-up was broken off: .venv is made anew, as it is for another Python or where pip does not run.
# torch comes first and by itself: the CPU build that is already there then satisfies the lock. uv installs the rest quickly.
install:
	@for p in $(CANDIDATES); do $$p $(IN_RANGE) && break; p=; done; \
	found=; if test -z "$$p"; then \
	  for p in $(CANDIDATES); do found="$$found, $$p ($$($$p $(VERSION) || echo not there))"; done; \
	  echo "error: Python 3.11, 3.12 or 3.13 is needed; found:$${found#,}. Install Python 3.11, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	elif ! { test -e $(VENV)/.ready && $(VENV)/bin/python -m pip --version >/dev/null 2>&1 && $(call SAME,$$p); }; then \
	  echo "making $(VENV) with $$p"; $$p -m venv --clear $(VENV); \
	fi
	@rm -f $(VENV)/.ready
	$(VENV)/bin/python -m pip install -q $$(grep -E '^(torch|uv)==' requirements.txt)
	$(VENV)/bin/uv pip install -q --python $(VENV)/bin/python -r requirements.txt -e .
	@$(MADE_OF) > $(VENV)/.made && mv $(VENV)/.made $(VENV)/.ready

# One lock for every Python and platform: markers where they differ. torch's CUDA libraries are left out: torch brings its own where it needs them.
lock:                 ## requirements.txt from pyproject.toml; what is pinned already stays, where it still fits
	@test -x $(BIN)/uv || $(MAKE) setup
	$(BIN)/uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 --extra vault --extra test --extra dev -q \
	  --no-emit-index-url --no-header --no-annotate -o requirements.txt $(LOCK_OPTIONS)
	sed 's/^\(torch==[0-9.]*\)+cpu/\1/; /^nvidia-/d; /^cuda-/d; /^triton==/d' requirements.txt > requirements.tmp && mv requirements.tmp requirements.txt
	$(BIN)/uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 --extra site -c requirements.txt -q \
	  --no-emit-index-url --no-header --no-annotate -o docs/site/requirements.txt $(LOCK_OPTIONS)
	sed 's/^\(torch==[0-9.]*\)+cpu/\1/; /^nvidia-/d; /^cuda-/d; /^triton==/d' docs/site/requirements.txt | grep -vxFf requirements.txt > docs/site/requirements.tmp \
	  && mv docs/site/requirements.tmp docs/site/requirements.txt

clean:                ## what can be made again; not the data
	rm -rf build .pytest_cache .ruff_cache
