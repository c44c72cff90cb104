"""The network: a transformer reads the configuration and corrects a law.

The sequence is [start, context fields..., LAW, recipe fields..., LOSS]. Attention is causal, so
what is read at LAW (corrections to the law's coefficients) depends on the context only, and what is
read at LOSS (a small free residual, the width of the interval) on everything. Learning rate and
batch enter as distances to the law's own optimum: that is what carries over between sizes.

Legend: B runs, F fields, T = F + 3 tokens, W width, K local coefficients, 6 law inputs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModel, LlamaConfig, Qwen3Config

from ncpl.errors import ConfigError
from ncpl.model.config import FitConfig
from ncpl.model.encoder import LAW_FIELDS, Encoder
from ncpl.model.response_surface import CORRECTION_SCALE, K, Surface, distances

BACKBONES: dict[str, Any] = {"llama": LlamaConfig, "qwen3": Qwen3Config}


class Output(NamedTuple):
    """What the network says about B runs."""

    loss: Tensor
    """(B,) nats per token."""
    log_scale: Tensor
    """(B,) log of the expected absolute error, nats."""
    correction: Tensor
    """(B, K) corrections to the law's coefficients, in units of CORRECTION_SCALE."""
    residual: Tensor
    """(B,) free residual, in units of the configuration's residual_scale."""


class NumberEncoder(nn.Module):
    """Scaled numbers to vectors: one two-layer network, shifted per field."""

    def __init__(self, n_fields: int, width: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.randn(n_fields, width))
        self.shift = nn.Parameter(torch.randn(n_fields, width))
        self.out = nn.Parameter(torch.randn(n_fields, width, width) * width**-0.5)

    def forward(self, numbers_BF: Tensor) -> Tensor:
        """Return vectors (B, F, W)."""
        hidden_BFW = torch.tanh(numbers_BF[:, :, None] * self.slope + self.shift)
        return torch.einsum("bfw,fwv->bfv", hidden_BFW, self.out)


class NCPL(nn.Module):
    """One member: backbone, number encoder, law and heads."""

    low: Tensor
    high: Tensor
    scale: Tensor

    def __init__(self, config: FitConfig, encoder: Encoder, surface: Surface) -> None:
        super().__init__()
        if config.backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ConfigError(f"backbone is {config.backbone!r}; expected one of {known}")
        self.n_context, n_fields = len(encoder.context), len(encoder.network_fields)
        self.n_fields = n_fields
        self.residual_scale, self.margin = config.residual_scale, config.hull_margin
        self.law_columns = [
            (j, LAW_FIELDS.index(name) - 2)
            for j, name in enumerate(encoder.network_fields)
            if name in LAW_FIELDS[2:4]
        ]
        vocabulary = 2 + len(encoder.vocabulary)
        self.backbone: Any = AutoModel.from_config(  # type: ignore[no-untyped-call]
            BACKBONES[config.backbone](
                vocab_size=vocabulary,
                hidden_size=config.width,
                intermediate_size=2 * config.width,
                num_hidden_layers=config.n_layers,
                num_attention_heads=config.n_heads,
                num_key_value_heads=config.n_heads,
                head_dim=config.width // config.n_heads,
                max_position_embeddings=256,
                attn_implementation="eager",
                use_cache=False,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
        nn.init.normal_(self.backbone.get_input_embeddings().weight)
        self.numbers = NumberEncoder(n_fields, config.width)
        self.names = nn.Parameter(torch.randn(n_fields, config.width))
        self.readers = nn.Parameter(torch.randn(3, config.width))
        self.law_head = nn.Linear(config.width, K)
        self.loss_head = nn.Linear(config.width, 1)
        self.scale_head = nn.Linear(config.width, 1)
        for head in (self.law_head, self.loss_head, self.scale_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.surface = surface
        self.surface.requires_grad_(False)
        scale = torch.tensor(CORRECTION_SCALE)
        self.register_buffer("scale", scale if config.is_structured else torch.zeros_like(scale))
        self.register_buffer("low", torch.full((n_fields,), -torch.inf))
        self.register_buffer("high", torch.full((n_fields,), torch.inf))

    def network_inputs(self, numbers_BF: Tensor, law_B6: Tensor) -> Tensor:
        """Return the numbers (B, F) with the law's fields as distances to its optimum."""
        distance_B2 = distances(self.surface.coefficients(law_B6), law_B6)
        numbers_BF = numbers_BF.clone()
        for column, which in self.law_columns:
            numbers_BF[:, column] = distance_B2[:, which]
        return numbers_BF

    def set_hull(self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor) -> None:
        """Keep the range of the training runs: outside it the network hears the border."""
        inputs_BF = self.network_inputs(numbers_BF[:, : self.n_fields], law_B6)
        given = codes_BF[:, : self.n_fields] > 0
        inf = torch.tensor(torch.inf)
        self.low.copy_(torch.where(given, inputs_BF, inf).amin(0) - self.margin)
        self.high.copy_(torch.where(given, inputs_BF, -inf).amax(0) + self.margin)

    def read(self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the transformer holds at LAW and at LOSS, each (B, W)."""
        law_B6 = sized(law_B6)
        numbers_BF, codes_BF = numbers_BF[:, : self.n_fields], codes_BF[:, : self.n_fields]
        inputs_BF = self.network_inputs(numbers_BF, law_B6)
        inputs_BF = torch.minimum(torch.maximum(inputs_BF, self.low), self.high)
        codes_BF1 = codes_BF[:, :, None]
        values_BFW = torch.where(
            codes_BF1 == 1,
            self.numbers(inputs_BF),
            self.backbone.get_input_embeddings()(codes_BF),
        )
        tokens_BFW = values_BFW + self.names
        reader = self.readers.expand(len(codes_BF), -1, -1)
        sequence_BTW = torch.cat(
            [
                reader[:, :1],
                tokens_BFW[:, : self.n_context],
                reader[:, 1:2],
                tokens_BFW[:, self.n_context :],
                reader[:, 2:],
            ],
            dim=1,
        )
        hidden_BTW = self.backbone(inputs_embeds=sequence_BTW).last_hidden_state
        return hidden_BTW[:, self.n_context + 1], hidden_BTW[:, -1]

    def forward(self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor) -> Output:
        """Return the prediction for encoded runs; `law_B6` may hold NaN, codes 0 mean absent."""
        law_BW, last_BW = self.read(numbers_BF, codes_BF, law_B6)
        law_B6 = sized(law_B6)
        correction_BK = self.law_head(law_BW)
        residual_B = self.loss_head(last_BW)[:, 0]
        coefficients_BK = self.surface.coefficients(law_B6) + self.scale * correction_BK
        loss_B = self.surface.value(coefficients_BK, law_B6) + self.residual_scale * residual_B
        return Output(
            loss_B, self.scale_head(last_BW.detach())[:, 0] - 5, correction_BK, residual_B
        )


def new_member(config: FitConfig, encoder: Encoder, surface: Surface, seed: int) -> NCPL:
    """Return a fresh network whose initial weights depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = Surface(surface.n_optimizers)
        own.load_state_dict(surface.state_dict())
        return NCPL(config, encoder, own)


def sized(law_B6: Tensor) -> Tensor:
    """Return the law's inputs with the centre of the table where size or data are absent."""
    return torch.cat([torch.nan_to_num(law_B6[:, :2]), law_B6[:, 2:]], dim=1)
