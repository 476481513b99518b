# What a person or CI runs here; `make` alone lists it. Most targets hand ARGS="..." on to their command.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# As if .venv were activated: the stages in dvc.yaml say `exec python -m stages.train`.
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)
# Packages of another Python stay out (ROS puts its own here).
unexport PYTHONPATH PYTHONHOME
# Without bytecode, Python compiles 3,500 modules at every start of a stage: 10 seconds.
unexport PYTHONDONTWRITEBYTECODE
# DVC asks for the user's name, and a container may run as an id that has none; `id` then prints the number.
export LOGNAME := $(or $(LOGNAME),$(shell id -un 2>/dev/null))
# uv trusts only its own certificates unless told that the machine has some (a company's proxy needs them).
ifneq ($(wildcard /etc/ssl/certs/*),)
export UV_SYSTEM_CERTS ?= true
endif

## List the targets
help:
	@awk '/^## / { text = substr($$0, 4); next } \
	    text && /^[a-z-]+:/ { sub(/:.*/, ""); printf "  make %-15s  %s\n", $$0, text } { text = "" }' Makefile

## Train, evaluate and render whatever is not up to date, and sum it up
repro: setup
	@python -m tools.mend
	dvc repro $(ARGS)
	python -m tools.summary

# Chosen by a study, on other seeds than the shipped one (docs/studies.md). Without the deterministic request Newton
# steps ten times as fast on an H100, and stepped 4,096 cartpoles to the same bits as with it: no two of their bodies
# hang from one.
GPU = sim.physics=newton_mjwarp sim.frontend=warp sim.device=cuda sim.deterministic=false \
    train.num_envs=4096 train.total_timesteps=3276800 train.checkpoint_every=819200 train.log_interval=65536 \
    normalize.until=131072 ppo.batch_size=16384 ppo.learning_rate=lin_5e-3 ppo.target_kl=0.04 ppo.vf_coef=1.0 \
    ++env.sim.physics.solver_cfg.disable_contacts=true evaluate.num_envs=1000

## Run the experiment with settings for a GPU: solved in seconds
repro-gpu: setup
	@python -m tools.mend
	dvc exp run $(GPU:%=-S %) $(ARGS)
	python -m tools.summary

## Run `make repro-gpu`, and write the digests of what it makes on this GPU into docs/gpu.md
digests-gpu: repro-gpu
	python -m tools.gpu_digests

# The pattern names the sections of params.yaml: patterns of what to leave out took params for metrics (train.num_envs).
## List the experiments: what differs in their params, and how they did; those that differ in the seed alone as one
experiments: setup
	@dvc exp show --only-changed --keep '(.*:)?(return_mean|success_rate|survival_rate)' \
	    --drop '(?!Experiment|State|seed|(sim|env|ppo|normalize|train|evaluate|render)\.)' $(ARGS)
	@python -m tools.experiments $(ARGS)

## Write a project with a task of your own into tasks/, to start from (NAME=tilt_cart)
new-task: setup
	python -m tools.new_task '$(NAME)'

## Run an experiment with other params than params.yaml's (PARAMS=tasks/ant.yaml; ARGS="--name ant")
experiment: setup
	$(if $(PARAMS),,$(error experiment needs a file of params: make experiment PARAMS=tasks/ant.yaml))
	@cmp -s $(PARAMS) params.yaml || git diff --quiet HEAD -- params.yaml || \
	    { echo "params.yaml has changes of its own: commit them, or undo them with \`git checkout params.yaml\`"; exit 1; }
	@python -m tools.mend
	cp $(PARAMS) params.yaml
	dvc exp run $(ARGS)
	python -m tools.summary

## Run many experiments, several seeds each, side by side (STUDY=studies/learning_rate.yaml SLOTS=2 AGAIN=3 CLUSTER=auto)
study: setup
	$(if $(STUDY),,$(error study needs a file: make study STUDY=studies/learning_rate.yaml))
	@python -m tools.study $(STUDY) $(if $(SLOTS),--slots $(SLOTS)) $(if $(AGAIN),--again $(AGAIN)) $(if $(CLUSTER),--cluster $(CLUSTER))

## Play with the policies in a browser, also while a training writes them (ARGS="--physics newton_mjwarp --port 8081")
play: setup
	@python -m tools.play $(ARGS)

## Write the episodes of the video as a page in 3D, to turn around and scrub through: logs/replay.html
replay: setup
	@python -m tools.replay $(ARGS)

## Compare runs by statistics over seeds (RUNS="my-study results.csv"; ARGS="--metric success_rate --md")
compare: setup
	$(if $(RUNS),,$(error compare needs runs: make compare RUNS="main my-study"))
	@python -m tools.compare $(RUNS) $(ARGS)

## The same as an HTML file with pictures and videos, logs/report.html (RUNS=my-study; ARGS="--to other.html")
report: setup
	$(if $(RUNS),,$(error report needs runs: make report RUNS="main my-study"))
	@python -m tools.report $(RUNS) $(ARGS)

POLICY = $(if $(wildcard models/checkpoints/*/policy.json),models/checkpoints) models
## Evaluate policies outside the pipeline, without training again (POLICY=<folder with a policy, or with such folders>)
evaluate: setup
	python -m tools.evaluate $(POLICY)

# Without the checkpoints, which the default in this file has for `evaluate`.
## Test policies with other masses, lengths, frictions, forces, delays, noise and pushes (RUNS=, or POLICY=<folders>)
robustness: setup
	$(if $(RUNS),$(if $(filter command,$(origin POLICY)),$(error robustness takes RUNS or POLICY, not both)))
	python -m tools.robustness $(if $(RUNS),--runs $(RUNS),$(if $(filter file,$(origin POLICY)),models,$(POLICY))) $(ARGS)

## Bring in a PPO model of stock SB3 (FROM=model.zip STATS=vecnormalize.pkl TASK=Isaac-Cartpole TO=pretrained TRUST=yes)
import-model: setup
	@python -m tools.import_model --from '$(FROM)' --stats '$(STATS)' --task '$(TASK)' --to '$(TO)' --trust '$(TRUST)'

# A commit that changes what a stage depends on brings the dvc.lock of a run. ARGS are for the last command alone.
## Run what changed, name the outputs that moved, and add the results to the commit (ARGS=--moved: also if some moved)
record: setup
	@python -m tools.mend
	dvc repro
	python -m tools.summary
	python -m tools.record $(ARGS)

## Prove the committed results: run them again from nothing, and compare every output (REV=<commit or experiment>)
verify: setup
	python -m tools.verify $(REV)

## Tell what the results here, or a revision's, were made by: machine, packages, times (REV=<commit or experiment>)
provenance: setup
	python -m tools.provenance $(REV)

## Bring the outputs of this commit from the remote, each byte compared (WHAT=<file, folder, artifact or stage>)
pull: setup
	python -m tools.pull $(WHAT)

## Bring them to the remote, and read them there, each byte compared (EXP=<experiments to push with them>)
push: setup
	python -m tools.push $(EXP)

## Bring the model of a version into a folder, at once or not at all (VERSION=v1.0.0 TO=<folder> FROM=<another repository>)
get: setup
	@python -m tools.get --version '$(VERSION)' --to '$(TO)' --from '$(FROM)'

## Push this commit's model, prove that a fresh clone gets it, and tag it as a version (VERSION=v1.2.0)
publish: setup
	python -m tools.publish $(VERSION)

## Read every object of this commit and of all tags, in the cache and in the remote (EXP=<experiments too>, REPAIR=yes)
fsck: setup
	python -m tools.fsck $(EXP) $(if $(filter yes,$(REPAIR)),--repair)

## List what can be deleted on this machine: old logs, trainings, objects of DVC (DELETE=yes, cache, logs or .resume)
tidy: setup
	python -m tools.tidy $(DELETE)

# Two files of tests at once: what a file's tests share, such as a pipeline that has run, is made once. In the order of
# tests/conftest.py, which has the long ones first: pytest-xdist takes for long what has many tests.
TEST = python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

## Run the tests (12 to 25 minutes; ARGS="-k video": those whose names say so)
test: setup
	$(TEST) -m "not night" $(ARGS)

## Run the quick tests, which need no simulator (1 to 3 minutes)
test-unit: setup
	$(TEST) --dist worksteal -m "unit and not slow" $(ARGS)

## Run all tests, also those for the night
test-all: setup
	$(TEST) $(ARGS)

## Put small faults into the code, and count those that the tests notice (10 minutes; ARGS="pipeline/ppo/ppo.py --count 50")
mutants: setup
	python -m tests.mutants $(ARGS)

## Invent inputs and experiments for an hour, and see each taken, or refused in one sentence
fuzz: setup
	FUZZ=60 $(TEST) --timeout 0 -k fuzz $(ARGS)

## Stop the pipeline 100 times, in any way at any moment, and see that it ends as if nobody had (half an hour)
crash-test: setup
	python -m tests.crashes $(ARGS)

## Check style and types
lint: setup
	ruff check
	ruff format --check
	pyright

## Fix style
format: setup
	ruff check --fix
	ruff format

## Compare training with Isaac Lab's trainers on this CPU (an hour, with nothing beside it)
benchmark: setup
	python -m benchmarks.phases
	python -m benchmarks.throughput cpu --num-envs 64 256 1024 --repeats 3
	python -m benchmarks.curves --seeds 1 2 3 4 5
	python -m benchmarks.solved --seeds 1 2 3
	python -m benchmarks.same_bits
	python -m benchmarks.studies --timesteps 102400

## Compare training with Isaac Lab's trainers on a CUDA GPU
benchmark-gpu: setup
	python -m benchmarks.phases $(GPU)
	python -m benchmarks.throughput gpu --num-envs 64 512 4096 16384 65536
	python -m benchmarks.throughput gpu-physx --num-envs 4096
	python -m benchmarks.solved $(GPU) --gpu --seeds 1 2 3

## Check that this machine can run the pipeline
doctor: setup
	python -m tools.doctor

# Not the program `tensorboard`: it loads the plugins of other packages too, and Open3D's dies without libusb.
## Show the training curves in a browser
tensorboard: setup
	python -c 'import sys; from tensorboard import default, program; \
	    board = program.TensorBoard(default.get_static_plugins()); board.configure(sys.argv); board.main()' \
	    --logdir logs $(ARGS)

## Build .venv and bring system libraries; every target does so by itself (PYTHON=/path/to/python3.12: with that one)
setup: .venv/.complete
.venv/.complete: requirements.txt requirements-dev.txt
	tools/setup.sh

# Isaac Sim's own wheels are whole only on NVIDIA's index. Its exact pins contradict Isaac Lab's (urllib3, packaging),
# so the lock overrides them, as Isaac Lab does itself. At its first start it asks to accept NVIDIA's licence.
# The set-up removes what is not locked: after new pins, Isaac Sim must be added again.
## Add Isaac Sim to .venv (INDEX=<the address of NVIDIA's package index>)
setup-isaacsim: setup
	$(if $(INDEX),,$(error setup-isaacsim needs the address of NVIDIA's package index: make setup-isaacsim INDEX=...))
	uv pip install 'isaacsim[all,extscache]==6.2.0.0' --override requirements.txt \
	    --index '$(INDEX)' --index-strategy unsafe-best-match --prerelease allow

## Add Ray to .venv, which carries the runs of a study to other machines (after new pins, again)
setup-ray: setup
	uv pip install 'ray==2.52.1' --constraint requirements.txt --constraint requirements-dev.txt

# Apart from the tools of development, since every result depends on requirements.txt.
COMPILE = uv pip compile --quiet --generate-hashes --python-version 3.12 \
    --python-platform x86_64-manylinux_2_35 --custom-compile-command 'make lock' $(ARGS)

# viser asks for an older rich than Isaac Lab, and runs with the newer one.
## Pin the dependencies in pyproject.toml with their hashes (ARGS=--upgrade: at their newest versions)
lock: setup
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) --group dev --constraint requirements.txt --override <(echo 'rich>=14') -o requirements-dev.txt

## Remove .venv and the tools' caches; nothing that was trained
clean:
	rm -rf .venv .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help repro repro-gpu digests-gpu experiments new-task experiment study compare report play replay evaluate robustness import-model record test test-unit test-all mutants fuzz crash-test lint format benchmark benchmark-gpu doctor verify provenance pull push publish get fsck tidy tensorboard setup setup-isaacsim setup-ray lock clean
