"""Image URI to the command that stands for it on this machine.

An ordered table: first the rows of `images.json` in the data folder, which its owner writes, then those below, which go by
the repository's name, since registry accounts vary by region. A substitution is told in the job's log and tags, and an image
that nothing here stands for fails the job by name; it is never faked. What it does not do: it builds no environment.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import JobFailed
from .sandbox import Box

Use = Literal["train", "serve", "process"]
USES: tuple[Use, ...] = get_args(Use)
ECR = re.compile(r"^\d{12}\.dkr\.ecr\.[^.]+\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)(?:[:@].+)?$")
OWN_IMAGES = ("local/python", "local/jobs", "millrace-jobs")
"""What these launchers run is what the image holds; anything else is a substitution."""
IMAGES = "images.json"
PYTHON, BUILT_IN = "{python}", "{built_in}"
BUILT_IN_PROGRAMS: Mapping[Use, str] = {"train": "training/script_mode.py", "serve": "serving/server.py"}


class ImagesError(ValueError):
    """`images.json` cannot be used; the message says which row and why."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """A row of the table.

    Args:
        pattern: what it stands for: repositories, or URIs as they stand.
        uses: what it can be used for.
        whole_uri: which of the two `pattern` is for.
        environment: the virtual environment whose Python runs; None is the runtime's own.
        programs: the argument list by use, where it is not script mode or the model server.
    """

    name: str
    pattern: re.Pattern[str]
    uses: frozenset[Use]
    whole_uri: bool = False
    environment: Path | None = None
    programs: Mapping[Use, tuple[str, ...]] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return str(self.environment / "bin/python") if self.environment else sys.executable

    @property
    def substitutes(self) -> bool:
        """Whether it is something else than the image itself."""
        return self.name not in OWN_IMAGES

    def stands_for(self, image: str) -> bool:
        match = ECR.match(image)
        return bool(self.pattern.fullmatch(image if self.whole_uri else match["repository"] if match else ""))


LAUNCHERS = (
    Launcher("local/jobs", re.compile(r"local/jobs(:[\w.-]+)?"), frozenset(USES), True),
    Launcher("local/python", re.compile(r"local/python(:[\w.-]+)?"), frozenset(USES), True),
    Launcher("millrace-jobs", re.compile(r"(.*/)?millrace-jobs"), frozenset({"train", "serve", "process"})),
    Launcher("pytorch-training", re.compile(r"(huggingface-)?pytorch-training.*"), frozenset({"train", "process"})),
    Launcher("pytorch-inference", re.compile(r"(huggingface-)?pytorch-inference.*"), frozenset({"serve"})),
    Launcher("scikit-learn", re.compile(r"sagemaker-scikit-learn.*"), frozenset({"train", "serve", "process"})),
    Launcher(
        "model-monitor-analyzer", re.compile(r"sagemaker-(model-monitor-analyzer|clarify-processing)"),
        frozenset({"process"}),
        programs={"process": (PYTHON, "-P", f"{BUILT_IN}/monitoring/analyzer.py")},
    ),
)  # fmt: skip
ENTRYPOINT = Launcher("entrypoint", re.compile(""), frozenset(USES))
"""Stands for an image that nothing else stands for, when the request says what to run."""


def own_launchers(data_dir: Path) -> tuple[Launcher, ...]:
    """The rows of `images.json`, in their order; none without the file.

    Raises:
        ImagesError: it cannot be used.
    """
    path = data_dir / IMAGES
    try:
        rows = json.loads(path.read_text())
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise ImagesError(f"{path} is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise ImagesError(f"{path} is a JSON {type(rows).__name__}; it must be a list of rows")
    return tuple(_own(row, f"row {number} of {path}") for number, row in enumerate(rows, 1))


def _own(row: Any, where: str) -> Launcher:
    """`{"image": "*/xgboost:1.7*", "name": …, "environment": …, "train": […], "serve": […], "process": true}`."""
    known = {"image", "name", "environment", *USES}
    if not isinstance(row, dict) or not isinstance(row.get("image"), str) or not row["image"]:
        raise ImagesError(f'{where} must be an object with "image", a glob over image URIs')
    if unknown := sorted(row.keys() - known):
        raise ImagesError(f"{where} has {unknown[0]!r}; known are {', '.join(sorted(known))}")
    environment = Path(row["environment"]) if row.get("environment") else None
    if environment is not None and not (environment / "bin/python").exists():
        raise ImagesError(f"{where}: there is no bin/python in the environment {environment}")
    programs: dict[Use, tuple[str, ...]] = {}
    for use in USES:
        program = row.get(use, False)
        if isinstance(program, list) and program and all(isinstance(word, str) for word in program):
            programs[use] = tuple(program)
        elif not isinstance(program, bool):
            raise ImagesError(f"{where}: {use} is {program!r}; it must be true, false or a list of words")
    uses = frozenset(use for use in USES if row.get(use))
    if not uses:
        raise ImagesError(f"{where} can be used for nothing: set train, serve or process")
    name = str(row.get("name") or row["image"])
    return Launcher(name, re.compile(translate(row["image"])), uses, True, environment, programs)


def find(image: str, use: Use, own: Sequence[Launcher] = ()) -> Launcher:
    """The launcher that stands for an image.

    Raises:
        JobFailed: nothing on this machine stands for it, or not for this use.
    """
    for launcher in (*own, *LAUNCHERS):
        if launcher.stands_for(image):
            if use in launcher.uses:
                return launcher
            raise JobFailed(f"ClientError: image not mapped: {image} ({launcher.name}) cannot be used to {use} here")
    repositories = ", ".join(row.name for row in LAUNCHERS if not row.whole_uri)
    raise JobFailed(
        f"ClientError: image not mapped: nothing on this machine stands for {image!r}. Use local/jobs, an image whose "
        f"repository is one of {repositories}, give a ContainerEntrypoint, or add a row for it to {IMAGES} in the "
        "runtime's data folder"
    )


def launch(
    data_dir: Path, image: str, use: Use, box: Box, entrypoint: Sequence[str] = (), arguments: Sequence[str] = ()
) -> tuple[list[str], Launcher, Box]:
    """The argument list for an image, what stands for it, and the box with its environment in it.

    Args:
        data_dir: where `images.json` is.

    Raises:
        JobFailed: nothing stands for the image, or `images.json` cannot be used.
    """
    try:
        own = own_launchers(data_dir)
    except ImagesError as error:
        raise JobFailed(f"ClientError: {error}") from error
    argv, launcher = command(image, use, box.built_in, entrypoint, arguments, own)
    return argv, launcher, replace(box, environment=launcher.environment)


def command(
    image: str,
    use: Use,
    built_in: str,
    entrypoint: Sequence[str] = (),
    arguments: Sequence[str] = (),
    own: Sequence[Launcher] = (),
) -> tuple[list[str], Launcher]:
    """The argument list for an image, and what stood for it.

    Args:
        built_in: the folder of the programs that belong to a jobs image.
        own: the rows of `images.json`.

    Raises:
        JobFailed: nothing stands for the image and no entrypoint is given.
    """
    if entrypoint:
        try:
            return [*entrypoint, *arguments], find(image, use, own)
        except JobFailed:
            return [*entrypoint, *arguments], ENTRYPOINT
    launcher = find(image, use, own)
    program = launcher.programs.get(use) or ()
    if not program and use in BUILT_IN_PROGRAMS:
        program = (PYTHON, "-P", f"{built_in}/{BUILT_IN_PROGRAMS[use]}")
    if not program:
        raise JobFailed(f"ClientError: {image} has no program of its own; give AppSpecification.ContainerEntrypoint")
    words = [launcher.python if word == PYTHON else word.replace(BUILT_IN, built_in) for word in program]
    return [*words, *arguments], launcher
