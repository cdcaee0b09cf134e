"""The network: a small convolutional net over 8 by 8 images."""

from __future__ import annotations

import torch
from torch import nn


class DigitsNet(nn.Module):
    """Pixels of shape (n, 64) with values 0..16 to logits of shape (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(64 * 16, 128),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(128, 10),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels.reshape(-1, 1, 8, 8) / 16.0)
        return logits
