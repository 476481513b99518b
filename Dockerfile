# A machine that has everything, for clusters:
#   docker build -t isaac-cartpole . && docker run --rm --gpus all isaac-cartpole make repro-gpu
FROM ubuntu:24.04
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git make python3-venv
WORKDIR /isaac-cartpole
# Only what the set-up reads comes first: then changed code does not install everything anew.
COPY Makefile requirements.txt requirements-dev.txt ./
COPY tools/setup.sh tools/
# A container starts with the image's bytecode, and its own goes with it.
RUN UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 make setup
COPY . .
CMD ["make", "repro"]
