"""All members of a fit in one forward pass, for predictions only.

The members' weights are stacked, so that each operation runs once for all. Two things are left out
that `model.NCPL` computes and nobody reads: the last layer at positions other than LAW and LOSS,
and the law, which all members share, for each member anew. Same numbers to rounding.

Runs are the last dimension, so that sums over the few tokens and features run along long rows.

Legend: M members, B runs, F fields, T = F + 3 tokens, Q tokens asked for, W width, H heads, E width
of a head, K local coefficients, 6 law inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ncpl.errors import BundleError
from ncpl.model import NCPL, sized


class Stacked:
    """Members of one configuration and one law, side by side."""

    def __init__(self, members: Sequence[NCPL]) -> None:
        """Copy the weights. Raises BundleError if the members do not share one law and range."""
        self.first = first = members[0]
        for member in members[1:]:
            for name in ("low", "high", *(f"surface.{n}" for n in first.surface.state_dict())):
                if not torch.equal(member.state_dict()[name], first.state_dict()[name]):
                    raise BundleError(f"members differ in {name}; train the bundle again")

        def stack(pick: Callable[[NCPL], Tensor]) -> Tensor:
            return torch.stack([pick(member).detach() for member in members])

        self.slope_MFW1 = stack(lambda m: m.numbers.slope)[..., None]
        self.shift_MFW1 = stack(lambda m: m.numbers.shift)[..., None]
        self.out = stack(lambda m: m.numbers.out.mT)
        self.words = stack(lambda m: m.backbone.get_input_embeddings().weight)
        self.names_MFW1 = stack(lambda m: m.names)[..., None]
        self.readers_MW31 = stack(lambda m: m.readers.T)[..., None]
        self.layers = [Layer(members, i) for i in range(len(first.backbone.layers))]
        self.epsilon = float(first.backbone.norm.variance_epsilon)
        # The last norm's weight goes into the heads' weights.
        self.law_weight = stack(lambda m: m.law_head.weight * m.backbone.norm.weight)
        self.law_bias = stack(lambda m: m.law_head.bias)[..., None]
        self.last_norm_MW1 = stack(lambda m: m.backbone.norm.weight)[..., None]
        self.last_weight = stack(
            lambda m: torch.cat([m.loss_head.weight, m.scale_head.weight]) * m.backbone.norm.weight
        )
        self.last_bias = stack(lambda m: torch.cat([m.loss_head.bias, m.scale_head.bias]))[
            ..., None
        ]
        positions = torch.arange(len(first.names) + 3)[None]
        cos_1TE, sin_1TE = first.backbone.rotary_emb(first.names[None], positions)
        # A rotation swaps the halves of a head and turns the sign of the first.
        half = sin_1TE.shape[-1] // 2
        sign_E = torch.cat([-torch.ones(half), torch.ones(half)])
        self.rotary = (cos_1TE[0].T[..., None], (sin_1TE[0] * sign_E).T[..., None])  # (E, T, 1)

    @torch.inference_mode()
    def __call__(
        self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return losses (M, B), log scales (M, B) and what is held at LOSS (M, W, B)."""
        first = self.first
        law_B6 = sized(law_B6)
        numbers_BF, codes_BF = numbers_BF[:, : first.n_fields], codes_BF[:, : first.n_fields]
        inputs_BF = first.network_inputs(numbers_BF, law_B6)
        inputs_BF = torch.minimum(torch.maximum(inputs_BF, first.low), first.high)
        x_MWTB = self.tokens(inputs_BF, codes_BF)
        n_tokens = x_MWTB.shape[2]
        for layer in self.layers[:-1]:
            x_MWTB = layer(x_MWTB, self.rotary, range(n_tokens))
        read_MW2B = self.layers[-1](x_MWTB, self.rotary, (first.n_context + 1, n_tokens - 1))
        law_MWB, last_MWB = normed(read_MW2B, self.epsilon).unbind(2)
        correction_MBK = (self.law_weight @ law_MWB + self.law_bias).mT
        residual_MB, log_scale_MB = (self.last_weight @ last_MWB + self.last_bias).unbind(1)
        coefficients_MBK = first.surface.coefficients(law_B6) + first.scale * correction_MBK
        loss_MB = first.surface.value(
            coefficients_MBK.flatten(0, 1), law_B6.repeat(len(correction_MBK), 1)
        ).view_as(residual_MB)
        loss_MB = loss_MB + first.residual_scale * residual_MB
        return loss_MB, log_scale_MB - 5, self.last_norm_MW1 * last_MWB

    def tokens(self, inputs_BF: Tensor, codes_BF: Tensor) -> Tensor:
        """Return the sequence of vectors the first layer reads (M, W, T, B)."""
        n_context = self.first.n_context
        hidden_MFWB = torch.tanh(inputs_BF.T[:, None] * self.slope_MFW1 + self.shift_MFW1)
        values_MFWB = self.out @ hidden_MFWB
        is_number_F1B = codes_BF.T[:, None] == 1
        if not is_number_F1B.all():
            words_MFWB = self.words[:, codes_BF.T].mT
            values_MFWB = torch.where(is_number_F1B, values_MFWB, words_MFWB)
        fields = (values_MFWB + self.names_MFW1).transpose(1, 2)
        reader = self.readers_MW31.expand(-1, -1, -1, len(codes_BF))
        before, after = fields[:, :, :n_context], fields[:, :, n_context:]
        parts = [reader[:, :, :1], before, reader[:, :, 1:2], after, reader[:, :, 2:]]
        return torch.cat(parts, dim=2)


class Layer:
    """One layer of a llama or qwen3 decoder: attention and gated feed-forward, pre-normed."""

    def __init__(self, members: Sequence[NCPL], index: int) -> None:
        """Copy the weights of the members' layers at `index`."""
        layers: list[nn.Module] = [member.backbone.layers[index] for member in members]

        def stack(name: str) -> Tensor:
            return torch.stack([layer.get_parameter(f"{name}.weight").detach() for layer in layers])

        attention: Any = layers[0].self_attn
        norm_M1W = stack("input_layernorm")[:, None]
        inner_norm_M1W = stack("post_attention_layernorm")[:, None]
        self.head_width = int(attention.head_dim)
        self.scaling = float(attention.scaling)
        # A norm's weight goes into that of the projection after it.
        read = [stack(f"self_attn.{name}_proj") for name in ("k", "v", "q")]
        self.key_value_query = torch.cat(read, dim=1) * norm_M1W
        self.out = stack("self_attn.o_proj")
        gate_up = [stack("mlp.gate_proj"), stack("mlp.up_proj")]
        self.gate_up = torch.cat(gate_up, dim=1) * inner_norm_M1W
        self.down = stack("mlp.down_proj")
        self.epsilon = float(members[0].backbone.norm.variance_epsilon)
        names = ("q_norm", "k_norm") if hasattr(attention, "q_norm") else ()
        self.head_norms = [stack(f"self_attn.{name}")[:, None, :, None, None] for name in names]

    def __call__(self, x_MWTB: Tensor, rotary: tuple[Tensor, Tensor], at: Sequence[int]) -> Tensor:
        """Return the layer's output at the positions `at` (M, W, Q, B)."""
        everywhere = len(at) == x_MWTB.shape[2]
        scaled = normed(x_MWTB, self.epsilon)
        kept = x_MWTB if everywhere else x_MWTB[:, :, list(at)]
        if everywhere:
            key, value, query = times(self.key_value_query, scaled).chunk(3, dim=1)
        else:
            width = 2 * x_MWTB.shape[1]
            key, value = times(self.key_value_query[:, :width], scaled).chunk(2, dim=1)
            query = times(self.key_value_query[:, width:], scaled[:, :, list(at)])
        query_MHEQB = self.heads(query, rotary, list(at), 0) * self.scaling
        key_MHETB = self.heads(key, rotary, list(range(x_MWTB.shape[2])), 1)
        value_MHETB = value.reshape(key_MHETB.shape)
        mixed = [
            attend(query_MHEQB[:, :, :, i : i + 1], key_MHETB[..., : t + 1, :],
                   value_MHETB[..., : t + 1, :])
            for i, t in enumerate(at)
        ]  # fmt: skip
        kept = kept + times(self.out, torch.stack(mixed, dim=3).flatten(1, 2))
        gate, up = times(self.gate_up, normed(kept, self.epsilon)).chunk(2, dim=1)
        return kept + times(self.down, nn.functional.silu(gate) * up)

    def heads(
        self, x_MWTB: Tensor, rotary: tuple[Tensor, Tensor], at: list[int], which: int
    ) -> Tensor:
        """Return queries or keys (M, H, E, T, B), normed where the backbone does, and rotated."""
        members, _, n_tokens, n_runs = x_MWTB.shape
        x = x_MWTB.reshape(members, -1, self.head_width, n_tokens, n_runs)
        if self.head_norms:
            x = normed(x, self.epsilon, dim=2) * self.head_norms[which]
        cos, sin = (part[:, at] for part in rotary)
        left, right = x.chunk(2, dim=2)
        return x * cos + torch.cat((right, left), dim=2) * sin


def attend(query_MHE1B: Tensor, key_MHETB: Tensor, value_MHETB: Tensor) -> Tensor:
    """Return what one position reads from those it sees (M, H, E, B)."""
    weight_MHTB = (query_MHE1B * key_MHETB).sum(2).softmax(2)
    return (weight_MHTB[:, :, None] * value_MHETB).sum(3)


def normed(x: Tensor, epsilon: float, dim: int = 1) -> Tensor:
    """Return vectors of root mean square one along `dim`."""
    return x * torch.rsqrt(x.square().mean(dim, keepdim=True) + epsilon)


def times(weight_MVW: Tensor, x_MWTB: Tensor) -> Tensor:
    """Return each member's matrix times its vectors (M, V, T, B)."""
    members, _, n_tokens, n_runs = x_MWTB.shape
    return (weight_MVW @ x_MWTB.flatten(2)).view(members, -1, n_tokens, n_runs)
