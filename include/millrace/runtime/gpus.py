"""The NVIDIA GPUs of this machine: which there are, which of them jobs may have, and what shows one inside a sandbox.

The driver's own list in /proc is read, so that no tool of the vendor is needed.

What it does not do: a GPU is leased whole, so partitions of one (MIG) are not known here; nor are other vendors' devices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

INFORMATION = Path("/proc/driver/nvidia/gpus")
"""A folder for each GPU, by its place on the bus."""
FIELD = re.compile(r"^(?P<name>[^:]+):\s*(?P<value>.*?)\s*$", re.MULTILINE)
SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
"""Device nodes that every process with a GPU opens."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its UUID, as CUDA_VISIBLE_DEVICES takes it, and the number of its device node."""

    uuid: str
    minor: int


def found(information: Path = INFORMATION) -> list[Gpu]:
    """The GPUs that the driver knows, in the order of their device nodes."""
    gpus = []
    for path in information.glob("*/information"):
        fields = {match["name"]: match["value"] for match in FIELD.finditer(path.read_text())}
        try:
            gpus.append(Gpu(fields["GPU UUID"], int(fields["Device Minor"])))
        except (KeyError, ValueError):
            continue  # one that has fallen off the bus has no UUID: "GPU-????????-…" or no such line
    return sorted(gpus, key=lambda gpu: gpu.minor)


def chosen(wish: str, here: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs that jobs may have.

    Args:
        wish: `auto` for all that are here, `none`, or numbers of device nodes as in "0,2".

    Raises:
        ValueError: the wish is none of these, or names a GPU that is not here.
    """
    if wish == "auto":
        return tuple(here)
    if wish == "none":
        return ()
    by_minor = {str(gpu.minor): gpu for gpu in here}
    wanted = [part.strip() for part in wish.split(",")]
    for part in wanted:
        if part not in by_minor:
            there = ", ".join(by_minor) or "none"
            raise ValueError(
                f"--gpus {wish}: there is no GPU {part!r} here (there are: {there}); give auto, none, or numbers of GPUs "
                "with commas between them"
            )
    return tuple(by_minor[part] for part in dict.fromkeys(wanted))


def nodes(gpus: Iterable[Gpu], dev: Path = Path("/dev")) -> list[Path]:
    """The device nodes that a sandbox must show for these GPUs and for no other."""
    own = [dev / f"nvidia{gpu.minor}" for gpu in gpus]
    return [node for node in [*own, *(dev / name for name in SHARED)] if node.exists()] if own else []
