# make help lists what there is. Everything is installed into .venv (.venv-classic, .venv-docs), nothing elsewhere.
# The first Python that runs, the newest first; set PYTHON to use another.
runs = $(shell for p in $(1); do "$$p" -c 'import venv' 2>/dev/null && echo "$$p" && break; done)
pythons = $(foreach v,$(1),python3.$(v) $(wildcard $(HOME)/.pyenv/versions/3.$(v).*/bin/python))
PYTHON ?= $(call runs,$(call pythons,12 11 10))
VENV := .venv
CLASSIC := .venv-classic
DOCS := .venv-docs
# These two releases go together; the PyPI builds run on CPU and on CUDA.
TORCH := torch==2.14.1 torchvision==0.29.1
CLASSIC_PYTHON ?= $(call runs,$(call pythons,10))
SOURCE ?= de

DATA ?= digits
BENCH ?= outputs/benchmarks
STUDIES ?= outputs/studies/report.md
# glibc keeps freed memory; without that, the small network for MNIST trains at 0.6 of the speed on a CPU.
REUSE := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592

.PHONY: help demo demo-detection bench bench-gpu studies docs test test-long test-classic matrix trust format lint dist clean

help:
	@echo 'make demo          train and compare CE and EL on real German-English text (SOURCE=fr for French)'
	@echo 'make demo-detection  train and compare RetinaNet with focal and halted focal loss (DATA=trees: aerial photographs, DATA=bccd: blood cells)'
	@echo 'make test          environment, ruff, mypy, shellcheck and the tests that CI runs'
	@echo 'make test-long     the tests that take minutes too'
	@echo 'make test-classic  losses and criterion on official fairseq 0.12.2, Python 3.10, torch 2.2'
	@echo 'make matrix        the suite on the wheel in every environment that is supported, each from nothing (hours, 40 GB)'
	@echo 'make trust         killed processes, full disks, hostile input; into benchmarks/results/trust.md (an hour)'
	@echo 'make bench         time and memory of the losses and of training beside their peers, into outputs/benchmarks (30 to 50 minutes)'
	@echo 'make bench-gpu     the losses beside their peers on this GPU, into benchmarks/results/gpu, and the tests that need one'
	@echo 'make studies       the paper'\''s other studies on small real data, five seeds (45 to 60 minutes)'
	@echo 'make docs          the documentation as a site that needs no network, into outputs/docs'
	@echo 'make format        lay out and tidy the code'
	@echo 'make lint          ruff, mypy, shellcheck'
	@echo 'make dist          wheel and sdist into dist/, checked; the same commit gives the same bytes'
	@echo 'make clean         remove the environments and caches, not the results in demo/'

$(VENV)/.installed: pyproject.toml run_scripts/install_detectron2.sh
	@test -n '$(PYTHON)' || { echo 'this needs Python 3.10, 3.11 or 3.12 with its venv module: PYTHON=/path/to/python'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --progress-bar off $(TORCH) -e '.[fairseq,nmt,detectron2,examples,integrations,studies,dev]'
	run_scripts/install_detectron2.sh $(VENV)/bin/python
	touch $@

$(CLASSIC)/.installed: pyproject.toml
	@test -n '$(CLASSIC_PYTHON)' || { echo 'make test-classic needs Python 3.10: CLASSIC_PYTHON=/path/to/python3.10'; exit 1; }
	$(CLASSIC_PYTHON) -m venv $(CLASSIC)
	$(CLASSIC)/bin/python -m pip install --progress-bar off 'pip<24.1' 'setuptools>=77,<81' wheel
	$(CLASSIC)/bin/python -m pip install --progress-bar off torch==2.2.2 'numpy<2' -e '.[fairseq,nmt,test]'
	touch $@

demo: $(VENV)/.installed
	$(VENV)/bin/el-nmt-benchmark examples/demo$(if $(filter fr,$(SOURCE)),_fr).yaml --output demo/$(SOURCE)-en --jobs 2

demo-detection: $(VENV)/.installed
	$(VENV)/bin/python -m experiments.detection.demo --data $(DATA)

bench: $(VENV)/.installed
	$(VENV)/bin/python -m benchmarks.losses $(BENCH)
	$(REUSE) $(VENV)/bin/python -m benchmarks.losses $(BENCH)
	$(VENV)/bin/python -m benchmarks.training $(BENCH)
	$(VENV)/bin/python -m benchmarks.share $(BENCH)
	$(VENV)/bin/python -m benchmarks.language_models $(BENCH)
	$(VENV)/bin/python -m benchmarks.report $(BENCH)

# Peers that do not install here are left out. None may bring another torch.
bench-gpu: $(VENV)/.installed
	@nvidia-smi -L 2>/dev/null || { echo 'make bench-gpu needs an NVIDIA GPU, and nvidia-smi finds none'; exit 1; }
	for peer in liger-kernel cut-cross-entropy quack-kernels; do $(VENV)/bin/python -m pip install --quiet $$peer $(TORCH) || echo "without $$peer"; done
	$(VENV)/bin/python -m benchmarks.gpu
	$(VENV)/bin/python -m pytest -m gpu

studies: $(VENV)/.installed
	$(REUSE) $(VENV)/bin/python -m experiments.studies all --report $(STUDIES)

# A small environment of its own: the sources are read, not imported.
$(DOCS)/.installed: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --progress-bar off -r docs/requirements.txt
	touch $@

docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo 'open outputs/docs/index.html; with search: $(DOCS)/bin/mkdocs serve'

format: $(VENV)/.installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/shellcheck -x run_scripts/*.sh

test: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile -m 'not long and not trust'

test-long: lint
	$(VENV)/bin/python -m pytest -m 'not trust'

test-classic: $(CLASSIC)/.installed
	$(CLASSIC)/bin/python -m pytest -m 'not long and not trust'

matrix: $(VENV)/.installed
	$(VENV)/bin/nox $(if $(SESSION),-s $(SESSION))

trust: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.trust

# Both archives take their times from the last commit.
dist: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
dist: $(VENV)/.installed
	rm -rf dist
	$(VENV)/bin/validate-pyproject pyproject.toml
	$(VENV)/bin/python -m build
	# setuptools gives files of the sdist the time of the build.
	cd dist && tar xzf *.tar.gz && rm *.tar.gz && for d in */; do d=$${d%/}; \
		tar --sort=name --mtime="@$$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$$d" | gzip -9n > "$$d.tar.gz"; \
		rm -r "$$d"; done
	$(VENV)/bin/twine check --strict dist/*
	$(VENV)/bin/check-wheel-contents dist/*.whl

clean:
	rm -rf $(VENV) $(CLASSIC) $(DOCS) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
