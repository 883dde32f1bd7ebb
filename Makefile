# make quick, make test, make repro, make figures, make bench: each sets up .venv first, once. Only Python 3.11 with pip is needed.
PYTHON ?= python3.11
JOBS   ?= 2
VENV   := .venv
BIN    := $(CURDIR)/$(VENV)/bin
RUN    := PATH="$(BIN):$$PATH" OMP_NUM_THREADS=1 PYTHONHASHSEED=0 OMAC_PROGRESS=0

.PHONY: quick test repro figures bench setup lock clean

quick: setup          ## the whole story on one map in about ten minutes
	@mkdir -p build
	$(RUN) OMAC_PROFILE=quick papermill notebooks/00_quickstart.ipynb build/00_quickstart.ipynb --cwd notebooks
	@$(RUN) python -m omac table data/quick/results.csv

test: setup           ## every test, then every notebook
	$(RUN) pytest
	$(RUN) pytest --nbval notebooks/

repro: setup          ## the study: resumes where it stopped, JOBS cells side by side; DASK=local or a scheduler's address: on Dask
	$(RUN) dvc repro pull subsample subset code
	$(RUN) OMAC_PROGRESS=1 python -m omac study --jobs $(JOBS) $(if $(DASK),--dask $(DASK))
	$(RUN) dvc repro
	$(MAKE) figures

figures: setup        ## every table and figure of notebooks 04 to 08 from the committed results, without training
	$(RUN) jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/0[45678]_*.ipynb

bench: setup          ## speed, as ratios of one run: benchmarks/results.md
	$(RUN) dvc repro subsample@6h_vs_8z-medium-held $(foreach m,5m_vs_6m 6h_vs_8z 3s5z_vs_3s6z corridor,subsample@$(m)-medium-100)
	$(RUN) python benchmarks/run.py

setup: $(VENV)/.ready

# torch first and by itself: the CPU build that is already there then satisfies the lock. uv installs the rest quickly.
$(VENV)/.ready: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here: install Python 3.11, or name it: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q "$$(grep '^torch==' requirements.txt)" uv
	$(VENV)/bin/uv pip install -q --python $(VENV)/bin/python -r requirements.txt -e .
	@touch $@

# One lock for every Python and platform: markers where they differ. torch's CUDA libraries are left out: torch brings its own where it needs them.
lock:                 ## requirements.txt from pyproject.toml; what is pinned already stays, where it still fits
	@test -x $(BIN)/uv || $(MAKE) setup
	$(BIN)/uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 --extra vault --extra test --extra dev -q \
	  --no-emit-index-url --no-header --no-annotate -o requirements.txt $(LOCK_OPTIONS)
	sed 's/^\(torch==[0-9.]*\)+cpu/\1/; /^nvidia-/d; /^cuda-/d; /^triton==/d' requirements.txt > requirements.tmp && mv requirements.tmp requirements.txt

clean:                ## what can be made again; not the data
	rm -rf build .pytest_cache .ruff_cache
