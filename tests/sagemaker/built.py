"""Requests as the builders make them, over the arguments that operators hand in."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from millrace.sagemaker.requests import (
    Cluster,
    EndpointConfigRequest,
    ModelRequest,
    ProcessingRequest,
    TrainingRequest,
    TransformRequest,
)

ROLE = "arn:aws:iam::123456789012:role/jobs"
CODE = "s3://bucket/code/0123abc.tar.gz"
NAMES = st.from_regex(r"[a-zA-Z0-9](-{0,2}[a-zA-Z0-9]){0,20}", fullmatch=True)
MEMBERS = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True).filter(lambda name: name != "code")
URIS = st.from_regex(r"s3://[a-z]{3,10}(/[a-zA-Z0-9_=-]{1,12}){0,4}/?", fullmatch=True)
VALUES = st.text(string.ascii_letters + string.digits + string.punctuation + " ", max_size=30).filter(
    lambda text: "{{" not in text and "{%" not in text
)
VARIABLES = st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True), VALUES, max_size=3)
CLUSTERS = st.builds(
    Cluster,
    instance_type=st.sampled_from(("ml.m5.large", "ml.c5.xlarge")),
    instance_count=st.integers(1, 20),
    volume_size_gb=st.integers(1, 1000),
)
IMAGES = st.sampled_from(
    (
        "local/jobs",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/millrace-jobs:1.0",
        "123456789012.dkr.ecr.x.amazonaws.com/a@sha256:0f",
    )
)
SECONDS = st.integers(1, 86_400)

PROCESSING = st.builds(
    ProcessingRequest,
    job_name=NAMES,
    role_arn=st.just(ROLE),
    image=IMAGES,
    module=st.just("pipelines.digits.jobs.ingest"),
    code_uri=st.just(CODE),
    cluster=CLUSTERS,
    arguments=st.lists(VALUES.filter(bool), max_size=5),
    inputs=st.dictionaries(MEMBERS, URIS, max_size=3),
    outputs=st.dictionaries(MEMBERS, URIS, max_size=3),
    environment=VARIABLES,
    network_isolation=st.booleans(),
    max_runtime_seconds=SECONDS,
)
TRAINING = st.builds(
    TrainingRequest,
    job_name=NAMES,
    role_arn=st.just(ROLE),
    image=IMAGES,
    program=st.just("train.py"),
    code_uri=st.just(CODE),
    output_uri=URIS,
    cluster=CLUSTERS,
    channels=st.dictionaries(MEMBERS, URIS, min_size=1, max_size=3),
    hyperparameters=st.dictionaries(
        MEMBERS, st.integers() | st.floats(allow_nan=False) | st.booleans() | VALUES, max_size=4
    ),
    environment=VARIABLES,
    distributed=st.booleans(),
    network_isolation=st.booleans(),
    max_runtime_seconds=SECONDS,
)
TRANSFORM = st.builds(
    TransformRequest,
    job_name=NAMES,
    model_name=NAMES,
    input_uri=URIS,
    output_uri=URIS,
    cluster=CLUSTERS,
    content_type=st.sampled_from(("text/csv", "application/jsonlines")),
    max_payload_mb=st.integers(0, 10),
    max_concurrent=st.integers(0, 10),
)
MODEL = st.builds(
    ModelRequest, name=NAMES, role_arn=st.just(ROLE), image=IMAGES, model_data_uri=st.just("s3://bucket/m/model.tar.gz"),
    environment=VARIABLES,
)  # fmt: skip
ENDPOINT_CONFIG = st.builds(
    EndpointConfigRequest,
    name=NAMES,
    model_name=NAMES,
    instance_type=st.sampled_from(("ml.c5.large", "ml.m5.large")),
    instance_count=st.integers(1, 10),
    variant=NAMES,
)
BUILT: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    *(
        st.tuples(st.just(operation), requests.map(lambda request: request.to_api()))
        for operation, requests in (
            ("CreateProcessingJob", PROCESSING), ("CreateTrainingJob", TRAINING), ("CreateTransformJob", TRANSFORM),
            ("CreateModel", MODEL), ("CreateEndpointConfig", ENDPOINT_CONFIG),
        )
    )
)  # fmt: skip
