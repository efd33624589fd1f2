# mmfdta on CUDA: docker build -f docker/cuda.Dockerfile -t mmfdta:cuda .
# Linted with hadolint; not built yet.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# PyPI's PyTorch brings CUDA's libraries; the host needs a driver and NVIDIA's container toolkit.
FROM python:3.12-slim
ARG EXTRAS=onedl
# OpenCV's wheel loads the first two libraries; Triton compiles the kernels' launchers with gcc.
# Debian keeps no old versions that could be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y libgl1 libglib2.0-0 gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/mmfdta-*.whl)[$EXTRAS]" \
    && useradd --create-home --uid 1000 user
USER 1000
# Mount videos, data and checkpoints here.
WORKDIR /data
ENTRYPOINT ["mmfdta"]
CMD ["--help"]
