# The pipeline as a small image that runs as nobody in particular. Build it from a clone:
#   docker build -t idc-cohort-pipeline .
# Pin the base for production: --build-arg BASE=python:3.12-slim-bookworm@sha256:<digest>
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /opt/idc-cohort-pipeline
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# A compiler for the native core, here only; without it the image works all the same, slower.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY requirements.lock ./
RUN python -m venv /opt/venv && /opt/venv/bin/python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY segtools segtools
COPY flows flows
COPY queries queries
COPY config config
RUN /opt/venv/bin/python -m pip install --no-deps --no-build-isolation --editable . \
 && (/opt/venv/bin/python -m segtools.native.build || true)

FROM ${BASE}
RUN useradd --create-home --uid 10001 idcseg && mkdir /data && chown idcseg /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/idc-cohort-pipeline /opt/idc-cohort-pipeline
COPY prefect.yaml /opt/idc-cohort-pipeline/
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_HOME=/data/.prefect
USER idcseg
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=60s --timeout=20s CMD ["idcseg", "doctor", "--offline"]
ENTRYPOINT ["idcseg"]
CMD ["--help"]
