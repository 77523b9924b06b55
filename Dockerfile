# push-sidecar. Two stages: the first builds /opt/push-sidecar, the second is the base and that folder. docs/image.md
# The base image is an argument, so that a mirror or a hardened one can take its place. It must hold glibc, libstdc++, and
# Python 3.11 or newer as `python`, with pip and venv (the second stage removes pip).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.lock requirements-build.lock ./
# Every dependency comes as a wheel and is checked against its hash: no compiler is needed, on any architecture.
RUN python -m venv --without-pip /opt/push-sidecar \
    && python -m pip --python /opt/push-sidecar/bin/python install --no-compile \
        --only-binary :all: --require-hashes --requirement requirements.lock \
    && python -m pip install --only-binary :all: --require-hashes --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY sidecar sidecar
# Byte code that is trusted without a look at its source, since nothing can be written when it runs; without a date, so
# that two builds give the same files.
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./clients/python . \
    && python -m pip --python /opt/push-sidecar/bin/python install \
        --no-compile --no-deps --no-index --find-links /wheels push-sidecar push-sidecar-client \
    && /opt/push-sidecar/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/push-sidecar/lib

FROM ${BASE}
# What the base has for installing is of no use to what runs.
RUN ["python", "-B", "-m", "pip", "uninstall", "--yes", "--root-user-action", "ignore", "pip", "setuptools", "wheel"]
COPY --from=build /opt/push-sidecar /opt/push-sidecar
# A base that lacks a library fails here, not at the start. And what is imported of the standard library leaves its byte
# code, which Python's own images do not have: without it a health check costs 0.1 s of CPU more, and a start 0.25 s.
RUN ["/opt/push-sidecar/bin/python", "-c", "import sidecar.app, sidecar.cli.serve, urllib.request"]
# 65532 is the customary "nonroot". The root file system may be read-only: nothing is written but logs to standard error.
USER 65532:65532
ENV PATH=/opt/push-sidecar/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# gRPC for callers, admin HTTP, gRPC health.
EXPOSE 50051 50052 50053
# It asks the default address of `admin.listen`: with another, give `docker run --health-cmd` one of its own.
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:50052/healthz', timeout=1)"]
ENTRYPOINT ["push-sidecar"]
CMD ["serve", "--config", "/etc/push-sidecar/config.yaml"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=https://github.com/push-sidecar/push-sidecar
LABEL org.opencontainers.image.title="push-sidecar" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
