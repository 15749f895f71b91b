"""A model of random weights with 512 words, for tests that need one to answer and to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCABULARY = 512


def tiny_teacher(
    place: Path, *, seed: int = 1, spread: float | None = None, words: int = VOCABULARY, tied: bool = True
) -> Path:
    """A folder in Hugging Face's format: two layers, words ``w1`` to ``w511`` and ``<end>``, no chat template.

    Parameters
    ----------
    spread
        Standard deviation of the last product's weights; the larger, the surer the model is. None: as they are drawn.
    words
        Size of the vocabulary.
    tied
        Whether the last product has the weights of the first. A sure model of tied weights says the same word for ever.
    """
    import tokenizers
    import torch
    import transformers

    known = {"<end>": 0, **{f"w{i}": i for i in range(1, words)}}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="<end>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>").save_pretrained(place)
    model: Any = transformers.LlamaForCausalLM(_config(transformers, torch, seed, words, tied))
    if spread is not None:
        torch.nn.init.normal_(model.lm_head.weight, std=spread)
    model.save_pretrained(place)
    return place


def _config(transformers: Any, torch: Any, seed: int, words: int, tied: bool) -> Any:
    torch.manual_seed(seed)
    return transformers.LlamaConfig(
        vocab_size=words, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=0, bos_token_id=None, tie_word_embeddings=tied,
    )  # fmt: skip
