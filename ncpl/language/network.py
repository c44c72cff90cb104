"""The network: a causal backbone, a number encoder, and a head that reads the loss.

Legend: B runs, L tokens, R points, D width. Module names (base, num_mlp, head) are those of the
authors' released weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ncpl.language.sequence import SequenceBatch


class LanguageNetwork(nn.Module):
    """Reads batches of configurations and points; gives a residual to the law for each point."""

    def __init__(self, base: Any, *, head_start_scale: float = 1.0) -> None:
        super().__init__()
        self.base = base
        width = int(base.config.hidden_size)
        self.num_mlp = nn.Sequential(
            nn.Linear(1, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.head = nn.Linear(width, 1)
        with torch.no_grad():
            for weight in self.head.parameters():
                weight.mul_(head_start_scale)

    def forward(self, batch: SequenceBatch) -> Tensor:
        """Return the residual of every point (R), nats per token, in fp32."""
        is_number_BL = batch.values.isfinite()
        word_BLD = self.base.get_input_embeddings()(batch.ids)
        # bf16 has 8 bits: it would not tell a batch of 256 from one of 257.
        with torch.autocast(batch.ids.device.type, enabled=False):
            number_BLD = self.num_mlp(batch.values.nan_to_num(0.0).unsqueeze(-1))
        mask_B1LL = batch.mask()
        if self.base.config._attn_implementation == "eager":  # noqa: SLF001 - no public name
            none = torch.finfo(word_BLD.dtype).min
            mask_B1LL = torch.zeros_like(mask_B1LL, dtype=word_BLD.dtype).masked_fill(
                ~mask_B1LL, none
            )
        hidden_BLD = self.base(
            inputs_embeds=torch.where(is_number_BL.unsqueeze(-1), number_BLD, word_BLD),
            attention_mask=mask_B1LL,
            position_ids=batch.positions,
            use_cache=False,
        ).last_hidden_state
        read_RD = hidden_BLD.flatten(0, 1)[batch.read]
        with torch.autocast(batch.ids.device.type, enabled=False):
            residual_R1: Tensor = self.head(read_RD.float())
        # A copy: a sharded network must not return a view, its hooks would be lost.
        return residual_R1.squeeze(-1).clone()
