"""All members of a fit in one forward pass, for predictions only.

The members' weights are stacked, so that each operation runs once for all. Two things are left out
that `model.NCPL` computes and nobody reads: the last layer at positions other than LAW and LOSS,
and the law, which all members share, for each member anew. Same numbers to rounding.

Runs are the last dimension, so that sums over the few tokens and features run along long rows.

Legend: M members, B runs, U contexts, F fields, T tokens, Q tokens asked for, W width, H heads, E
width of a head, K local coefficients, 6 law inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ncpl.errors import BundleError
from ncpl.model.network import NCPL, sized


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
        # Runs of one size, data and optimizer share what is read up to LAW: it is computed once.
        context_B2F = torch.cat([t[:, : first.n_context].float() for t in (inputs_BF, codes_BF)], 1)
        contexts, place_B = torch.unique(context_B2F, dim=0, return_inverse=True)
        of_run: Tensor | slice = place_B
        one_U = torch.arange(len(place_B))
        if 2 * len(contexts) > len(place_B):  # then copying to the runs costs more than it saves
            of_run = slice(None)
        else:
            one_U = place_B.new_empty(len(contexts)).scatter_(0, place_B, one_U)
        x_MWTU = self.tokens(inputs_BF[one_U], codes_BF[one_U], is_prefix=True)
        x_MWTB = self.tokens(inputs_BF, codes_BF, is_prefix=False)
        n_shared, n_tokens = x_MWTU.shape[2], x_MWTU.shape[2] + x_MWTB.shape[2]
        for layer in self.layers:
            is_last = layer is self.layers[-1]
            at = range(n_shared - 1 if is_last else 0, n_shared)
            x_MWTU, heard = layer(x_MWTU, self.rotary, at)
            at = range(n_tokens - 1 if is_last else n_shared, n_tokens)
            heard_B = (heard[0][..., of_run], heard[1][..., of_run])
            x_MWTB, _ = layer(x_MWTB, self.rotary, at, heard_B)
        law_MWU, last_MWB = (normed(x, self.epsilon)[:, :, 0] for x in (x_MWTU, x_MWTB))
        correction_MBK = (self.law_weight @ law_MWU + self.law_bias).mT[:, of_run]
        residual_MB, log_scale_MB = (self.last_weight @ last_MWB + self.last_bias).unbind(1)
        coefficients_MBK = first.surface.coefficients(law_B6) + first.scale * correction_MBK
        loss_MB = first.surface.value(
            coefficients_MBK.flatten(0, 1), law_B6.repeat(len(correction_MBK), 1)
        ).view_as(residual_MB)
        loss_MB = loss_MB + first.residual_scale * residual_MB
        return loss_MB, log_scale_MB - 5, self.last_norm_MW1 * last_MWB

    def tokens(self, inputs_BF: Tensor, codes_BF: Tensor, *, is_prefix: bool) -> Tensor:
        """Return what the first layer reads up to LAW, or after it (M, W, T, B)."""
        n_context = self.first.n_context
        own = slice(None, n_context) if is_prefix else slice(n_context, None)
        inputs_BF, codes_BF = inputs_BF[:, own], codes_BF[:, own]
        hidden_MFWB = torch.tanh(
            inputs_BF.T[:, None] * self.slope_MFW1[:, own] + self.shift_MFW1[:, own]
        )
        values_MFWB = self.out[:, own] @ hidden_MFWB
        is_number_F1B = codes_BF.T[:, None] == 1
        if not is_number_F1B.all():
            words_MFWB = self.words[:, codes_BF.T].mT
            values_MFWB = torch.where(is_number_F1B, values_MFWB, words_MFWB)
        fields = (values_MFWB + self.names_MFW1[:, own]).transpose(1, 2)
        reader = self.readers_MW31.expand(-1, -1, -1, len(codes_BF))
        if is_prefix:
            return torch.cat([reader[:, :, :1], fields, reader[:, :, 1:2]], dim=2)
        return torch.cat([fields, reader[:, :, 2:]], dim=2)


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

    def __call__(
        self,
        x_MWTB: Tensor,
        rotary: tuple[Tensor, Tensor],
        at: Sequence[int],
        heard: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output at the positions `at` (M, W, Q, B), and all keys and values.

        `heard` are keys and values (M, H, E, P, B) of the P positions before those of x.
        """
        n_before = 0 if heard is None else heard[0].shape[3]
        positions = list(range(n_before, n_before + x_MWTB.shape[2]))
        scaled = normed(x_MWTB, self.epsilon)
        if len(at) == len(positions):
            kept = x_MWTB
            key, value, query = times(self.key_value_query, scaled).chunk(3, dim=1)
        else:
            own = [t - n_before for t in at]
            kept, width = x_MWTB[:, :, own], 2 * x_MWTB.shape[1]
            key, value = times(self.key_value_query[:, :width], scaled).chunk(2, dim=1)
            query = times(self.key_value_query[:, width:], scaled[:, :, own])
        query_MHEQB = self.heads(query, rotary, list(at), 0) * self.scaling
        key_MHETB = self.heads(key, rotary, positions, 1)
        value_MHETB = value.reshape(key_MHETB.shape)
        if heard is not None:
            key_MHETB = torch.cat([heard[0], key_MHETB], dim=3)
            value_MHETB = torch.cat([heard[1], value_MHETB], dim=3)
        mixed = [
            attend(query_MHEQB[:, :, :, i : i + 1], key_MHETB[..., : t + 1, :],
                   value_MHETB[..., : t + 1, :])
            for i, t in enumerate(at)
        ]  # fmt: skip
        kept = kept + times(self.out, torch.stack(mixed, dim=3).flatten(1, 2))
        gate, up = times(self.gate_up, normed(kept, self.epsilon)).chunk(2, dim=1)
        read = kept + times(self.down, nn.functional.silu(gate) * up)
        return read, (key_MHETB, value_MHETB)

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
