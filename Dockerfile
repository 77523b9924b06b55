# push-sidecar. Two stages: wheels are built in the first; the second has only Python and what is installed from them.
# The base image is an argument, so that a mirror or a hardened one can take its place. It must hold Python 3.11 or newer.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
# Every dependency comes as a wheel and is checked against its hash: no compiler is needed, here or later.
RUN python -m venv /opt/push-sidecar \
    && /opt/push-sidecar/bin/pip install --only-binary :all: --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY sidecar sidecar
RUN pip wheel --no-deps --wheel-dir /wheels ./clients/python . \
    && /opt/push-sidecar/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/push-sidecar/bin/python -m compileall -q /opt/push-sidecar/lib \
    && /opt/push-sidecar/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="push-sidecar" \
      org.opencontainers.image.licenses="Apache-2.0"
# 65532 is the customary "nonroot". The root file system may be read-only: nothing is written but logs to standard error.
USER 65532:65532
COPY --from=build /opt/push-sidecar /opt/push-sidecar
ENV PATH=/opt/push-sidecar/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# gRPC for callers, admin HTTP, gRPC health.
EXPOSE 50051 50052 50053
# It asks the default address of `admin.listen`: with another, give `docker run --health-cmd` one of its own.
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:50052/healthz', timeout=1)"]
ENTRYPOINT ["push-sidecar"]
CMD ["serve", "--config", "/etc/push-sidecar/config.yaml"]
