"""What a fitted process says of runs, for predictions only.

The process's mean is the covariance with the training runs times `solved`. Whatever in it does not
depend on the run asked for is summed once, by optimizer and by cell; only Matern's part is left for
each pair, in single precision, and summed in double: the same to 1e-6 nats.

Legend: n training runs, m runs asked for, B runs, C cells, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ncpl.model.gaussian_process import DRIFT, WIDER, Features, Process, matern
from ncpl.model.response_surface import Surface


class ProcessMean:
    """The mean of a process as it was when this was made."""

    def __init__(self, process: Process) -> None:
        """Sum over the training runs, those of one optimizer side by side."""
        self.process = process
        order = torch.argsort(process.place, stable=True)
        known = Features(*(column[order] for column in process.known))
        solved = process.solved[order]
        n_features = known.x.shape[1]
        self.length_F = process.logs[:n_features].exp()
        scale = process.logs[n_features].exp()
        self.x_nF = known.x / self.length_F
        self.square_n = (self.x_nF**2).sum(1)
        self.weight_n = scale**2 * solved
        self.drift_2 = DRIFT**2 * (known.drift.T @ solved)
        self.level = DRIFT**2 * solved.sum()
        self.own = [
            Own(process.logs[n_features:], known, solved, place)
            for place in (torch.unique(known.place).tolist() if process.has_own else [])
        ]

    @torch.no_grad()
    def __call__(self, inputs: tuple[Tensor, Tensor, Tensor], surface: Surface) -> Tensor:
        """Return what the law leaves over (B,), nats, for encoded runs."""
        process = self.process
        asked = process.features(*inputs, surface)
        left = self.left_over(asked)
        beyond = asked.sizes[:, 0] > process.high[0]
        if not process.carries_level and beyond.any():
            sizes_B2 = asked.drift[beyond]
            x = torch.cat([sizes_B2, process.typical.expand(len(sizes_B2), -1)], dim=1)
            typical = Features(x, *(column[beyond] for column in asked[1:]))
            left[beyond] -= self.left_over(typical)
        return (left * process.unit).float()

    def left_over(self, asked: Features) -> Tensor:
        """Return the mean at runs asked for (m,), in units of the residual."""
        x_mF = asked.x / self.length_F
        square_mn = (x_mF**2).sum(1)[:, None] + self.square_n
        square_mn = torch.addmm(square_mn, x_mF, self.x_nF.T, alpha=-2)
        far_mn = square_mn.float().clamp_min(1e-12).sqrt()
        left = matern(far_mn).double() @ self.weight_n + asked.drift @ self.drift_2 + self.level
        for own in self.own:
            rows = (asked.place == own.place).nonzero()[:, 0]
            if len(rows):
                left[rows] += own.left_over(asked, far_mn, rows)
        return left


class Own:
    """What the training runs of one optimizer say of others of it."""

    def __init__(self, logs: Tensor, known: Features, solved: Tensor, place: int) -> None:
        """Sum over them; they stand side by side in `known`."""
        _, scale, slope, level, cell, _ = logs.exp()
        at = (known.place == place).nonzero()[:, 0]
        self.place = place
        self.columns = slice(int(at[0]), int(at[-1]) + 1)
        mine = solved[self.columns]
        self.weight = scale**2 * mine
        self.drift_2 = slope**2 * (known.drift[self.columns].T @ mine)
        self.level = level**2 * mine.sum()
        self.cells_C2, cell_of = torch.unique(known.sizes[self.columns], dim=0, return_inverse=True)
        self.weight_C = mine.new_zeros(len(self.cells_C2)).index_add_(0, cell_of, cell**2 * mine)

    def left_over(self, asked: Features, far_mn: Tensor, rows: Tensor) -> Tensor:
        """Return it for some rows of those asked for, in units of the residual."""
        near = matern(far_mn[rows, self.columns] / WIDER)
        one_cell = (asked.sizes[rows][:, None] == self.cells_C2).all(-1).double()
        by_size = asked.drift[rows] @ self.drift_2 + one_cell @ self.weight_C
        left: Tensor = near.double() @ self.weight + by_size + self.level
        return left
