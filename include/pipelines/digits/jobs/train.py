"""Train the network with DistributedDataParallel on gloo, one rank an instance, seeded.

Leaves in /opt/ml/model: model.pt (weights), training.json (what each rank did), and code/ (the handlers that serve it).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from millrace.profiling.table import read_table
from millrace.training.environment import TrainingEnvironment
from pipelines.digits.jobs.network import DigitsNet
from pipelines.digits.settings import LABEL, PIXELS


def dataset(folder: Path) -> TensorDataset:
    frame = read_table(folder, (*PIXELS, LABEL))
    pixels = torch.tensor(frame[list(PIXELS)].to_numpy(dtype="float32"))
    return TensorDataset(pixels, torch.tensor(frame[LABEL].to_numpy(dtype="int64")))


def fingerprint(model: torch.nn.Module) -> str:
    """A hash of all weights: equal on all ranks when they trained as one."""
    digest = hashlib.sha256()
    for weights in model.state_dict().values():
        digest.update(weights.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train(model: DistributedDataParallel, data: TensorDataset, options: argparse.Namespace) -> dict[str, Any]:
    """Train for `options.epochs`; returns this rank's record."""
    sampler: DistributedSampler[Any] = DistributedSampler(data, seed=options.seed)
    # One global batch whatever the number of ranks: the result does not depend on the cluster's size by itself.
    loader = DataLoader(data, batch_size=max(1, options.batch_size // dist.get_world_size()), sampler=sampler)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, epochs=options.epochs, steps_per_epoch=len(loader)
    )
    losses, seen = [], 0
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        total = torch.zeros(2)
        for pixels, labels in loader:
            loss = cross_entropy(model(pixels), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += torch.tensor([loss.item() * len(labels), len(labels)])
        seen += int(total[1])
        dist.all_reduce(total)
        losses.append(float(total[0] / total[1]))
        if dist.get_rank() == 0:
            print(f"epoch={epoch + 1} loss={losses[-1]:.4f}", flush=True)
    return {
        "rank": dist.get_rank(),
        "host": TrainingEnvironment.load().current_host,
        "samples": seen,
        "losses": losses,
        "weights": fingerprint(model.module),
    }


def save(model: torch.nn.Module, ranks: list[dict[str, Any]], options: argparse.Namespace, folder: Path) -> None:
    here = Path(__file__).resolve()
    torch.save(model.state_dict(), folder / "model.pt")
    record = {"ranks": ranks, "hyperparameters": vars(options)}
    (folder / "training.json").write_text(json.dumps(record, indent=2))
    package = folder / "code/pipelines/digits/jobs"
    package.mkdir(parents=True)
    shutil.copy(here.with_name("inference.py"), folder / "code/inference.py")
    shutil.copy(here.with_name("network.py"), package / "network.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    environment = TrainingEnvironment.load()
    data = dataset(environment.channel("train"))
    dist.init_process_group("gloo")
    try:
        print(f"rank {dist.get_rank()} of {dist.get_world_size()} on {environment.current_host}", flush=True)
        model = DistributedDataParallel(DigitsNet())
        torch.manual_seed(options.seed + dist.get_rank())  # dropout differs between ranks, repeatably
        record = train(model, data, options)
        ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(ranks, record)
        if dist.get_rank() == 0:
            save(model.module, ranks, options, environment.model_dir)
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
