# Airflow with the project: every Airflow service of docker-compose.yml runs this image. Build in the project's folder:
#   docker build --file docker/airflow.Dockerfile --tag millrace-airflow .
# The project lies in /opt/millrace as in a checkout, installed editable, as `make` does it.
FROM python:3.11-slim

RUN useradd --uid 50000 --gid 0 --create-home airflow \
    && mkdir --parents /opt/airflow/logs \
    && chown --recursive airflow:0 /opt/airflow

WORKDIR /opt/millrace
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY include ./include
COPY plugins ./plugins
# Installed before the DAGs are copied: a change of a DAG installs nothing anew.
RUN pip install --no-cache-dir --constraint requirements.txt --editable ".[compose]"
COPY dags ./dags

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/millrace/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/millrace/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

USER airflow
WORKDIR /opt/airflow
ENTRYPOINT ["airflow"]
CMD ["version"]
