# understudy serve in a container: no compiler, no development tools, no root.
#
#   docker build -t understudy .
#   docker run -p 8080:8080 -v "$PWD/understudy.yaml:/etc/understudy/understudy.yaml:ro" -v understudy:/var/lib/understudy understudy
#
# The file should say `store: {url: sqlite:////var/lib/understudy/understudy.db}`, so that a rollout outlives the
# container. The health check asks the admin API where UNDERSTUDY_ADMIN says it is, as the command line does.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# What runs, exactly as locked.
COPY requirements-runtime.lock ./
RUN python -m venv /opt/understudy \
 && /opt/understudy/bin/pip install --require-hashes -r requirements-runtime.lock

# The build backend and the compiler stay behind in this stage; the former comes from the lock too.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.lock ./
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
COPY config ./config
COPY analysis ./analysis
RUN HATCH_BUILD_HOOKS_ENABLE=1 /opt/build/bin/python -m build --no-isolation --outdir /dist \
 && /opt/understudy/bin/pip install --no-deps --no-index /dist/*.whl \
 && /opt/understudy/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim AS run
ENV PATH=/opt/understudy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 UNDERSTUDY_ADMIN=http://127.0.0.1:9901
COPY --from=build /opt/understudy /opt/understudy
RUN install -d -o 65532 -g 65532 /var/lib/understudy
USER 65532:65532
WORKDIR /var/lib/understudy
VOLUME /var/lib/understudy
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=15s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(os.environ['UNDERSTUDY_ADMIN'] + '/readyz', timeout=2)"]
ENTRYPOINT ["understudy"]
CMD ["serve", "--config", "/etc/understudy/understudy.yaml"]
