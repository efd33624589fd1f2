# mmfdta on the CPU: docker build -f docker/cpu.Dockerfile -t mmfdta:cpu .
# Linted with hadolint; not built yet.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# PyPI's build of PyTorch is for CUDA and five times as large.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=onedl
# OpenCV's wheel loads both libraries, also where nothing is shown.
# Debian keeps no old versions that could be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.13.0 \
    && pip install --no-cache-dir "$(echo /wheels/mmfdta-*.whl)[$EXTRAS]" \
    && useradd --create-home --uid 1000 user
USER 1000
# Mount videos, data and checkpoints here.
WORKDIR /data
ENTRYPOINT ["mmfdta"]
CMD ["--help"]
