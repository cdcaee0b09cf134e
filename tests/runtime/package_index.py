"""A package index on loopback, and training jobs that ask it for packages."""

from __future__ import annotations

import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.runtime.jobs import CLUSTER, Jobs, archive
from tests.runtime.process import IMAGE, ROLE

WHEEL = "greeting-1.0-py3-none-any.whl"


def wheel() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as packed:
        packed.writestr("greeting.py", "WORD = 'hello'")
        info = "greeting-1.0.dist-info"
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        packed.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr(f"{info}/RECORD", "")
    return raw.getvalue()


class Index:
    """A package index with one file, a wheel unless another is given; `fetched` counts it."""

    def __init__(self, name: str = WHEEL, content: bytes | None = None) -> None:
        index = self
        self.fetched = 0
        served = wheel() if content is None else content

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_file = self.path.endswith(name)
                index.fetched += is_file
                body = served if is_file else f'<a href="/{name}">{name}</a>'.encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream" if is_file else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def train(jobs: Jobs, requirements: str, script: str) -> str:
    name = jobs.name("packaged")
    code = jobs.put(f"code/{name}.tar.gz", archive({"train.py": script, "requirements.txt": requirements}))
    jobs.sagemaker.create_training_job(
        TrainingJobName=name, RoleArn=ROLE, ResourceConfig=CLUSTER, StoppingCondition={"MaxRuntimeInSeconds": 120},
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": code},
        OutputDataConfig={"S3OutputPath": "s3://bucket/output"},
    )  # fmt: skip
    return name
