"""Gates that jobs wait at until their test opens them: what a case does to a job is done while it runs, however slow the
machine is.

A job connects to `port` on loopback, says the name of its gate, and ends when the connection does. A gate that is open
stays open, so a later job of the same task passes it at once.
"""

from __future__ import annotations

import socketserver
import threading
from collections import defaultdict

JOB_WAITS = "the job waits"
"""What each job says first."""


class Gates:
    """Listens on a free port of loopback from the start to `close`, which lets every job pass."""

    def __init__(self) -> None:
        gates = self._gates = defaultdict[str, threading.Event](threading.Event)

        class Waiting(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                gates[self.rfile.read().decode()].wait()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Waiting)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="gates", daemon=True).start()

    def job_code(self, name: str) -> str:
        """What a job does that is to wait at this gate: one line of Python."""
        return (
            f"import socket; print({JOB_WAITS!r}, flush=True); "
            f"gate = socket.create_connection(('127.0.0.1', {self.port})); "
            f"gate.sendall({name.encode()!r}); gate.shutdown(socket.SHUT_WR); gate.recv(1)"
        )

    def open(self, name: str) -> None:
        self._gates[name].set()

    def close(self) -> None:
        for gate in list(self._gates.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()
