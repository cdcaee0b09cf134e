"""Image URI to the command that stands for it on this machine.

The repository name decides, since registry accounts vary by region. A substitution is recorded on the job, and an image
that nothing here stands for fails the job by name; it is never faked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import JobFailed

Use = Literal["train", "serve", "process"]
ECR = re.compile(r"^\d{12}\.dkr\.ecr\.[^.]+\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)(?:[:@].+)?$")
LOCAL = re.compile(r"^local/(?P<environment>[a-z0-9._-]+)(?::[\w.-]+)?$")


@dataclass(frozen=True, slots=True)
class Launcher:
    """A row of the table: the repositories it stands for, and what it can be used for."""

    name: str
    repository: re.Pattern[str]
    uses: frozenset[Use]


LAUNCHERS = (
    Launcher("millrace-jobs", re.compile(r"(.*/)?millrace-jobs"), frozenset({"train", "serve", "process"})),
    Launcher("pytorch-training", re.compile(r"(huggingface-)?pytorch-training.*"), frozenset({"train", "process"})),
    Launcher("pytorch-inference", re.compile(r"(huggingface-)?pytorch-inference.*"), frozenset({"serve"})),
    Launcher("scikit-learn", re.compile(r"sagemaker-scikit-learn.*"), frozenset({"train", "serve", "process"})),
)


def find(image: str, use: Use) -> Launcher:
    """The launcher that stands for an image.

    Raises:
        JobFailed: nothing on this machine stands for it, or not for this use.
    """
    local = LOCAL.match(image)
    if local and local["environment"] in ("python", "jobs"):
        return Launcher(f"local/{local['environment']}", LOCAL, frozenset({"train", "serve", "process"}))
    match = ECR.match(image)
    repository = match["repository"] if match else ""
    for launcher in LAUNCHERS:
        if launcher.repository.fullmatch(repository):
            if use in launcher.uses:
                return launcher
            raise JobFailed(f"ClientError: image not mapped: {image} ({launcher.name}) cannot be used to {use} here")
    raise JobFailed(
        f"ClientError: image not mapped: nothing on this machine stands for {image!r}. Use local/jobs, an image whose "
        f"repository is one of {', '.join(row.name for row in LAUNCHERS)}, or give a ContainerEntrypoint"
    )


def command(
    image: str, use: Use, built_in: str, entrypoint: Sequence[str] = (), arguments: Sequence[str] = ()
) -> tuple[list[str], str]:
    """The argument list for an image, and the name of what stood for it.

    Raises:
        JobFailed: nothing stands for the image and no entrypoint is given.
    """
    if entrypoint:
        return [*entrypoint, *arguments], "entrypoint"
    launcher = find(image, use)
    if use == "process":
        raise JobFailed(f"ClientError: {image} has no program of its own; give AppSpecification.ContainerEntrypoint")
    program = {"train": f"{built_in}/training/script_mode.py", "serve": f"{built_in}/serving/server.py"}[use]
    return [sys.executable, "-P", program, *arguments], launcher.name
