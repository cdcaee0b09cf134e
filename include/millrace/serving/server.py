"""The `serve` program of a jobs image: GET /ping and POST /invocations over a model's own handlers.

The handlers are the SageMaker inference toolkit's: `model_fn(model_dir)`, then `input_fn(body, content_type)`,
`predict_fn(data, model)`, `output_fn(prediction, accept)`, or one `transform_fn(model, body, content_type, accept)` in
place of the last three. They lie in `code/<SAGEMAKER_PROGRAM>` of the model archive. /ping answers 200 once `model_fn`
has returned; a model that does not load ends the server, with its traceback in the log.

What it does not do: no batching across requests, no model registry, one process (predictions run one at a time).
Standard library only. Source of the contract: aws/sagemaker-inference-toolkit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
DRAIN_SECONDS = 25
LINGER_SECONDS = 2.0
DROPPED_BYTES = 65_536
MAX_BODY_BYTES = 100 * 1024 * 1024
DEFAULT_PROGRAM = "inference.py"


class ModelHandler:
    """A loaded model and how to ask it.

    Raises:
        FileNotFoundError: the archive has no code/<program>.
        AttributeError: the program defines neither transform_fn nor the three functions.
    """

    def __init__(self, model_dir: Path, program: str) -> None:
        module = _load(model_dir / "code" / program)
        self._lock = threading.Lock()
        self.model = module.model_fn(str(model_dir))
        transform = getattr(module, "transform_fn", None)
        if transform is None:
            missing = [name for name in ("input_fn", "predict_fn", "output_fn") if not hasattr(module, name)]
            if missing:
                raise AttributeError(f"{program} lacks {', '.join(missing)} (or one transform_fn in their place)")
            transform = _composed(module)
        self._transform: Callable[[Any, bytes, str, str], Any] = transform

    def __call__(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """The answer and its content type."""
        with self._lock:
            answer = self._transform(self.model, body, content_type, accept)
        if isinstance(answer, tuple) and len(answer) == 2:  # the toolkit's (body, content type)
            answer, accept = answer
        if isinstance(answer, str):
            answer = answer.encode()
        if not isinstance(answer, bytes):
            raise TypeError(f"the handlers answered a {type(answer).__name__}; output_fn must return str or bytes")
        return answer, accept


def _composed(module: ModuleType) -> Callable[[Any, bytes, str, str], Any]:
    def transform(model: Any, body: bytes, content_type: str, accept: str) -> Any:
        return module.output_fn(module.predict_fn(module.input_fn(body, content_type), model), accept)

    return transform


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(
            f"the model archive has no code/{path.name}; SAGEMAKER_PROGRAM names the handlers' file"
        )
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"code/{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class RequestHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive; one handler serves one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    handler: ModelHandler

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/ping" else 404, b"", "text/plain")

    def do_POST(self) -> None:
        said = self.headers.get("Content-Length") or "0"
        length = int(said) if said.isdigit() else MAX_BODY_BYTES + 1
        if self.path != "/invocations":
            self._refuse(404, b"only /ping and /invocations are served")
            return
        if length > MAX_BODY_BYTES or self.headers.get("Transfer-Encoding"):
            self._refuse(413, b"send a Content-Length of at most 100 MiB")
            return
        body = self.rfile.read(length)
        content_type = self.headers.get("Content-Type") or "application/json"
        default = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", content_type)
        accept = self.headers.get("Accept") or default
        accept = default if accept == "*/*" else accept
        with Server.counting:
            Server.in_flight += 1
        try:
            self._invoke(body, content_type, accept)
        finally:
            with Server.counting:
                Server.in_flight -= 1
                Server.counting.notify_all()

    def _invoke(self, body: bytes, content_type: str, accept: str) -> None:
        try:
            answer, kind = self.handler(body, content_type, accept)
        except Exception as error:
            # A handler is the user's code: whatever it raises is an answer to this request, not the server's end.
            traceback.print_exc()
            # The handlers cannot import this file, so their word for a content type they do not take is known by name.
            unsupported = type(error).__name__ == "UnsupportedContentType"
            status = 415 if unsupported else 400 if isinstance(error, ValueError) else 500
            answer, kind = f"{type(error).__name__}: {error}".encode(), "text/plain"
            self._answer(status, answer, kind)
        else:
            self._answer(200, answer, kind)

    def _refuse(self, status: int, text: bytes) -> None:
        """Answer a request whose body is not read, and close once the client has had time to see that.

        A connection that is closed with bytes unread is reset: the client, still sending, would meet that in place of the
        answer. What it sends meanwhile is dropped.
        """
        self.close_connection = True
        self._answer(status, text, "text/plain")
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(DROPPED_BYTES):
                    return

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        if "/ping" not in str(args):
            print(format % args, flush=True)  # noqa: T201 - the endpoint's log


class Server(ThreadingHTTPServer):
    """Ends gracefully: SIGTERM closes the door, and requests that are being answered are answered."""

    daemon_threads = True
    request_queue_size = 512
    in_flight = 0
    counting = threading.Condition()

    def drain(self, *_signal: object) -> None:
        # shutdown() waits for the loop that this very signal interrupted, so it needs a thread of its own.
        threading.Thread(target=self.shutdown, daemon=True).start()

    def wait_for_requests(self) -> None:
        with self.counting:
            self.counting.wait_for(lambda: not self.in_flight, timeout=DRAIN_SECONDS)


def main() -> int:
    program = os.environ.get("SAGEMAKER_PROGRAM", DEFAULT_PROGRAM)
    if Path(program).name != program:
        print(f"SAGEMAKER_PROGRAM is {program!r}; it must be a file name", flush=True)  # noqa: T201
        return 1
    handler = ModelHandler(BASE / "model", program)
    RequestHandler.handler = handler
    # In a container every interface is the container's; the local runtime names a loopback address.
    host = os.environ.get("MILLRACE_BIND_HOST", "0.0.0.0")  # noqa: S104
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    with Server((host, port), RequestHandler) as server:
        print(f"serving {program} on {host}:{port}", flush=True)  # noqa: T201
        signal.signal(signal.SIGTERM, server.drain)
        server.serve_forever(poll_interval=0.2)
        server.wait_for_requests()
    return 0


if __name__ == "__main__":
    sys.exit(main())
