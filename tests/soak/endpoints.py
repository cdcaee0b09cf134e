"""The endpoints of a soak: few, changed at random, and held to what was acknowledged about them.

An endpoint that was once seen InService answers from then on, through every kill of the runtime and of its own servers,
with its last configuration or the one it is being moved to; a deleted one leaves nothing. What it does not do: one variant
and one server an endpoint, no load.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from tests.runtime.jobs import Jobs
from tests.runtime.process import until
from tests.soak.books import Books

MOST = 2
SETTLE_SECONDS = 120
ANSWER_SECONDS = 45
CHANGING = ("Creating", "Updating", "Deleting")
BROKEN = "broken"
MODELS = {
    "one": "def model_fn(model_dir):\n    return 'one'\n",
    "two": "def model_fn(model_dir):\n    return 'two'\n",
    BROKEN: "def model_fn(model_dir):\n    raise OSError('weights are missing')\n",
}
"""What stands in each model's archive, by its answer."""
HANDLERS = """
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    return model + ":" + data.decode()
def output_fn(prediction, accept):
    return prediction
"""


@dataclass
class Expected:
    """What an endpoint has been acknowledged to be: configurations by their model's answer."""

    serves: str = ""
    """The configuration that was last seen InService; none yet when empty."""
    next: str = ""
    """The configuration it is being moved to; none when empty."""
    is_failed: bool = False
    silent_since: float | None = None

    def settle(self, name: str, description: dict[str, Any]) -> None:
        """Heed what an endpoint that changes no more says of itself.

        Raises:
            AssertionError: it can have come to this in no way that was asked for.
        """
        status, config = description["EndpointStatus"], description["EndpointConfigName"]
        if not self.next:
            right = ("Failed", BROKEN) if self.is_failed else ("InService", self.serves)
        elif self.next == BROKEN:
            right = ("InService", self.serves) if self.serves else ("Failed", BROKEN)
        else:
            right = ("InService", self.next)
        reason = description.get("FailureReason", "")
        assert (status, config) == right, f"{name} is {status} on {config!r}, not {right}: {reason}"
        self.serves, self.next, self.is_failed = ("", "", True) if status == "Failed" else (config, "", False)


class Endpoints:
    """The deeds on endpoints, and their balance."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._there: dict[str, Expected] = {}
        self._deleted: set[str] = set()

    def connect(self, jobs: Jobs) -> None:
        """Use the clients of a runtime that was just started."""
        self._jobs = jobs
        self._runtime = jobs.runtime.client("sagemaker-runtime")

    def prepare(self) -> None:
        """A model and a configuration of one name for each answer."""
        for answer, loads in MODELS.items():
            self._jobs.model(loads + HANDLERS, name=answer)
            variant = {
                "VariantName": "v",
                "ModelName": answer,
                "InstanceType": "ml.c5.large",
                "InitialInstanceCount": 1,
            }
            self._jobs.sagemaker.create_endpoint_config(EndpointConfigName=answer, ProductionVariants=[variant])

    def create(self, name: str, dice: random.Random) -> None:
        if len(self._there) < MOST:
            config = _config(dice)
            create = self._jobs.sagemaker.create_endpoint
            self._ask(lambda: create(EndpointName=name, EndpointConfigName=config), "already existing")
            self._there[name] = Expected(next=config)

    def update(self, dice: random.Random) -> None:
        name, expected = self._pick(dice)
        if expected and expected.serves and not expected.next:
            config = _config(dice)
            update = self._jobs.sagemaker.update_endpoint
            self._ask(lambda: update(EndpointName=name, EndpointConfigName=config), "in-progress")
            expected.next = config

    def invoke(self, dice: random.Random) -> None:
        """Ask an endpoint, as soon as it was seen InService once."""
        name, expected = self._pick(dice)
        if expected and expected.serves:
            self._answers(name, expected)

    def delete(self, dice: random.Random) -> None:
        name, expected = self._pick(dice)
        if expected and not expected.next:
            self._ask(lambda: self._jobs.sagemaker.delete_endpoint(EndpointName=name), "Could not find")
            del self._there[name]
            self._deleted.add(name)

    def kill_server(self, dice: random.Random) -> None:
        """kill -9 of the shim of some server, and so of the server; what answers after that is started by the runtime.

        While a fleet comes up a dead server is a reason to give it up: then none is killed.
        """
        for name, expected in self._there.items():
            if expected.next and not self._look(name, expected):
                return
        runtime = self._jobs.runtime
        shims = runtime.find(f"shim.py {runtime.data_dir}/servers/")
        if shims:
            with contextlib.suppress(psutil.NoSuchProcess):
                dice.choice(shims).kill()
                self._books.done["model server killed"] += 1

    def balance(self, restart: Callable[[], None]) -> None:
        """Every endpoint is as it was acknowledged, also after another kill; and when it is deleted nothing is left.

        Args:
            restart: kills the runtime and starts another.
        """
        for name, expected in self._there.items():
            until(lambda n=name, e=expected: self._look(n, e), SETTLE_SECONDS, f"{name} settles")  # type: ignore[misc]
        restart()
        for name, expected in self._there.items():
            if expected.serves:
                expected.silent_since = None
                until(lambda n=name, e=expected: self._answers(n, e), 2 * ANSWER_SECONDS)  # type: ignore[misc]
                self._books.done["endpoint answers after the last kill"] += 1
            self._jobs.sagemaker.delete_endpoint(EndpointName=name)
        gone = self._deleted | self._there.keys()
        until(lambda: all(map(self._is_gone, gone)), SETTLE_SECONDS, f"the end of {sorted(gone)}")
        left = sorted(path.name for path in self._jobs.runtime.data_dir.glob("servers/*"))
        assert not left, f"folders of servers are left: {left}"

    def _pick(self, dice: random.Random) -> tuple[str, Expected | None]:
        """An endpoint that is not deleted, with what is known of it by now."""
        if not self._there:
            return "", None
        name = dice.choice(sorted(self._there))
        expected = self._there[name]
        if expected.next:
            self._look(name, expected)
        return name, expected

    def _look(self, name: str, expected: Expected) -> bool:
        """Whether it changes no more; if so, it is held against what was asked for."""
        try:
            description = self._jobs.sagemaker.describe_endpoint(EndpointName=name)
        except (ClientError, BotoCoreError) as error:
            assert "Could not find" not in str(error), f"{name} was acknowledged and is lost"
            return False
        if description["EndpointStatus"] in CHANGING:
            return False
        expected.settle(name, description)
        return True

    def _answers(self, name: str, expected: Expected) -> bool:
        """Whether it answers now; one that was seen InService must after a while, and rightly.

        Raises:
            AssertionError: it answers wrongly, or it has been silent for too long.
        """
        try:
            answer = self._runtime.invoke_endpoint(EndpointName=name, Body=b"x", ContentType="text/plain")
            said = answer["Body"].read().decode()
        except (ClientError, BotoCoreError) as error:
            expected.silent_since = expected.silent_since or time.monotonic()
            silent = time.monotonic() - expected.silent_since
            assert silent < ANSWER_SECONDS, f"{name} has not answered for {silent:.0f} s: {error}"
            return False
        expected.silent_since = None
        right = {f"{config}:x" for config in (expected.serves, expected.next) if config}
        assert said in right, f"{name} answers {said!r}, and not one of {right}"
        return True

    def _is_gone(self, name: str) -> bool:
        try:
            self._jobs.sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            assert "Could not find" in str(error), error
            return True
        return False

    @staticmethod
    def _ask(change: Callable[[], Any], done_before: str) -> None:
        """Ask for a change that must be taken; one whose answer was lost is refused, when tried again, in these words."""
        try:
            change()
        except ClientError as error:
            assert done_before in str(error), error


def _config(dice: random.Random) -> str:
    return dice.choice(("one", "one", "two", "two", BROKEN))
