"""Models of the Llama architecture, run for generation only: about three times as fast as a general library on a CPU.

What is spared: queries, keys and values are one product, and so are gate and up; keys and values go into memory that is
there already; logits are computed for the last place only; the queries that share a key stand where a longer text would
have its places. All rows have prompts of one length, so there is no padding and no mask.
"""

from __future__ import annotations

from typing import Any

from stillwatch.extras import need


class Llama:
    """The weights of a transformers `LlamaForCausalLM`, arranged for generation; see `fits`."""

    def __init__(self, model: Any) -> None:
        torch = need("torch")
        config = model.config
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        inner, head = model.model, model.get_output_embeddings()
        self.embedding, self.norm, self.head = inner.embed_tokens.weight, inner.norm.weight, head.weight
        self.layers = [
            (
                layer.input_layernorm.weight,
                torch.cat([getattr(layer.self_attn, f"{n}_proj").weight for n in "qkv"]).detach(),
                layer.self_attn.o_proj.weight,
                layer.post_attention_layernorm.weight,
                torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]).detach(),
                layer.mlp.down_proj.weight,
            )
            for layer in inner.layers
        ]
        base = config.rope_parameters["rope_theta"]
        self.frequencies = 1.0 / base ** (torch.arange(0, self.size, 2).float() / self.size)
        self.torch = torch

    def start(self, ids: Any, room: int) -> tuple[Any, list[tuple[Any, Any]]]:
        """Read prompts of one length, int64 (rows, length); logits (rows, vocabulary) and memory for `room` ids."""
        rows = len(ids)
        memory = [
            tuple(self.embedding.new_empty((rows, self.groups, room, self.size)) for _ in range(2))
            for _ in self.layers
        ]
        return self.step(ids, memory, 0), memory  # type: ignore[return-value]

    def step(self, ids: Any, memory: list[tuple[Any, Any]], at: int) -> Any:
        """Logits after `ids`, int64 (rows, length), which stand at place `at`; one at a time where `at` is above 0."""
        torch = self.torch
        function = torch.nn.functional
        rows, length = ids.shape
        cosine, sine = self._turns(at, length)
        x = self.embedding[ids]
        for (before, qkv, out, after, gate_up, down), (keys, values) in zip(self.layers, memory, strict=True):
            made = function.linear(self._scaled(x, before), qkv)
            made = made.view(rows, length, self.heads + 2 * self.groups, self.size).transpose(1, 2)
            query, key, value = made.split([self.heads, self.groups, self.groups], dim=1)
            keys[:, :, at : at + length] = _turned(torch, key, cosine, sine)
            values[:, :, at : at + length] = value
            query = _turned(torch, query, cosine, sine)
            if length == 1:
                query = query.reshape(rows, self.groups, self.heads // self.groups, self.size)
                seen = function.scaled_dot_product_attention(
                    query, keys[:, :, : at + 1], values[:, :, : at + 1]
                )
                seen = seen.reshape(rows, 1, self.heads * self.size)
            else:
                seen = function.scaled_dot_product_attention(
                    query, keys[:, :, :length], values[:, :, :length], is_causal=True, enable_gqa=True
                )
                seen = seen.transpose(1, 2).reshape(rows, length, self.heads * self.size)
            x = x + function.linear(seen, out)
            gate, up = function.linear(self._scaled(x, after), gate_up).chunk(2, dim=-1)
            x = x + function.linear(function.silu(gate) * up, down)
        return function.linear(self._scaled(x[:, -1], self.norm), self.head).float()

    def _scaled(self, x: Any, weight: Any) -> Any:
        wide = x.float()
        wide = wide * (wide.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return weight * wide.to(x.dtype)

    def _turns(self, at: int, length: int) -> tuple[Any, Any]:
        torch = self.torch
        angle = torch.arange(at, at + length).float()[:, None] * self.frequencies
        angle = torch.cat([angle, angle], dim=-1)
        return angle.cos().to(self.embedding.dtype), angle.sin().to(self.embedding.dtype)


def fits(model: Any) -> bool:
    """Whether `Llama` computes what this model does: plain rotary places, SiLU, no bias."""
    config = model.config
    return (
        type(model).__name__ == "LlamaForCausalLM"
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type", "default") == "default"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
        and str(next(model.parameters()).device) == "cpu"
    )


def _turned(torch: Any, x: Any, cosine: Any, sine: Any) -> Any:
    half = x.shape[-1] // 2
    return x * cosine + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sine
