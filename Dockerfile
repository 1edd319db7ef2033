# ugmm with what its experiments need, for CPUs and NVIDIA GPUs (torch's wheels bring CUDA).
#   docker build -t ugmm .
#   docker run --gpus all -v "$PWD/runs:/project/runs" ugmm train mnist_disc
FROM python:3.12-slim-bookworm

# gcc compiles the launchers of Triton's kernels as they are first used.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/ugmm
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY src src
COPY configs configs
COPY experiments experiments
RUN pip install --no-cache-dir -c constraints.txt '.[experiments]'

# Data sets and compiled kernels: mount a volume to keep them.
ENV UGMM_DATA_DIR=/project/data
WORKDIR /project
ENTRYPOINT ["ugmm"]
CMD ["list"]
