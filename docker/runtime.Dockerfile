# The runtime (SageMaker on this machine) and, with another command, the MLflow server. Build in the project's folder:
#   docker build --file docker/runtime.Dockerfile --tag millrace-runtime .
# Jobs and model servers run inside this container, so it holds what the jobs image holds.
#
# bubblewrap needs to make user namespaces and to mount inside them, which docker's default profiles forbid. `auto`
# notices and runs jobs as plain processes; GET /health says which it is. To have the sandbox, start the container with
# security_opt seccomp=unconfined, apparmor=unconfined and systempaths=unconfined, on a host that allows user namespaces.
FROM python:3.11-slim

ARG TORCH_INDEX=""

RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/millrace
COPY pyproject.toml requirements.txt docker/extras.py ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && python extras.py local jobs > wanted.txt \
    && pip install --no-cache-dir --constraint requirements.txt --requirement wanted.txt boto3 \
    && rm wanted.txt extras.py
COPY README.md LICENSE ./
COPY include ./include
COPY plugins ./plugins
# Editable: the sandbox hides a checkout from jobs, so that code which did not travel is missed here and not on AWS.
RUN pip install --no-cache-dir --no-deps --editable .

RUN useradd --uid 50001 --create-home runtime \
    && install --directory --owner runtime --mode 0700 /data
USER runtime
WORKDIR /data
VOLUME /data
EXPOSE 4580

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true

# Every container that asks for it does so under the name `runtime`, which must be allowed by name. Inside the container
# it listens on all interfaces, so it wants a credentials file (docker-compose.yml writes one): mode 0600, owned by `runtime`.
CMD ["python", "-m", "millrace.runtime", "--host", "0.0.0.0", "--allowed-host", "runtime", "--data-dir", "/data", \
     "--credentials", "/data/credentials.json"]
