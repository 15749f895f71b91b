"""A student with another tokenizer: the teacher's base with the later half of its merges taken away.

Its vocabulary is cut down to the tokens that can still come about and numbered anew, with the rows of the embedding
that they had. So it is a real model with a real tokenizer that cuts words in more pieces than the teacher's, and no id
means the same in both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.across import Following, predicted
from stillwatch.errors import InputError
from stillwatch.extras import need
from stillwatch.lab.teaching.corpus import Corpus, Lessons
from stillwatch.models.protocol import Forced

Ids = NDArray[np.int64]


class Cut:
    """A tokenizer of transformers as the tests of another tokenizer ask for it."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        return [np.array(self.tokenizer.encode(t, add_special_tokens=False), np.int64) for t in texts]

    def decode(self, documents: Sequence[Ids], *, special: bool = False) -> list[str]:
        return [str(self.tokenizer.decode(d.tolist(), skip_special_tokens=not special)) for d in documents]


def fewer_merges(model: Any, tokenizer: Any, share: float = 0.5) -> tuple[Any, Any]:
    """A model that reads in fewer merges than this one, and its tokenizer.

    Parameters
    ----------
    model
        As `stillwatch.models.local.load` gives it; it is not changed. Its embeddings are tied.
    tokenizer
        Byte-level BPE, of transformers.
    share
        Of the merges, the first ones, which are the commonest pairs.

    Raises
    ------
    InputError
        The tokenizer does not merge, or the embeddings are not tied.
    """
    torch, transformers = need("torch"), need("transformers")
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    if told["model"]["type"] != "BPE" or not model.config.tie_word_embeddings:
        raise InputError("only a model with tied embeddings and a tokenizer that merges can lose merges")
    merges = [m if isinstance(m, list) else m.split(" ") for m in told["model"]["merges"]]
    left = merges[: round(share * len(merges))]
    lost = {"".join(m) for m in merges} - {"".join(m) for m in left}
    added = {token["content"] for token in told["added_tokens"]}
    old = told["model"]["vocab"]
    kept = sorted((i, word) for word, i in old.items() if word in added or word not in lost)
    new = {word: i for i, (_, word) in enumerate(kept)}
    told["model"] |= {"vocab": new, "merges": left}
    for token in told["added_tokens"]:
        token["id"] = new[token["content"]]
    raw = need("tokenizers").Tokenizer.from_str(json.dumps(told))
    names = ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template")
    fewer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, **{name: getattr(tokenizer, name) for name in names if getattr(tokenizer, name)}
    )
    config = model.config.__class__.from_dict(
        model.config.to_dict()
        | {"vocab_size": len(kept)}
        | {f"{n}_token_id": getattr(fewer, f"{n}_token_id") for n in ("bos", "eos", "pad")}
    )
    made = transformers.AutoModelForCausalLM.from_config(config).to(model.dtype)
    weights = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    (table,) = [k for k in weights if k.endswith("embed_tokens.weight")]
    weights[table] = weights[table][torch.tensor([i for i, _ in kept])]
    made.load_state_dict(weights, strict=False)
    made.tie_weights()
    return made.eval(), fewer


def exact_head(model: Any) -> Any:
    """The same model with its last product in float32: in bfloat16 the two likeliest tokens are often equal."""
    torch = need("torch")
    old = model.get_output_embeddings().weight
    head = torch.nn.Linear(old.shape[1], old.shape[0], bias=False)
    head.weight = torch.nn.Parameter(old.detach().float().clone(), requires_grad=False)
    head.register_forward_pre_hook(lambda module, given: (given[0].float(),))
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(head)
    return model


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a student's folder."""
    return need("transformers").AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def prompts(given: Sequence[Ids], teacher: Any, tokenizer: Any) -> list[Ids]:
    """The same prompts in another tokenizer's ids, special tokens too."""
    return Cut(tokenizer).encode(Cut(teacher).decode(given, special=True))


def lessons(corpus: Corpus, teacher: Any, tokenizer: Any) -> Lessons:
    """The same prompts and answers in another tokenizer's ids."""
    answers = Cut(tokenizer).encode(Cut(teacher).decode(list(corpus.answers)))
    return Lessons(tuple(prompts(corpus.prompts, teacher, tokenizer)), tuple(answers))


def read(following: Following, corpus: Corpus, teacher: Any, tokenizer: Any) -> list[Forced]:
    """What it predicts at each place of the answers, in the teacher's ids; the prompts stand before them, not asked."""
    before = prompts(corpus.prompts, teacher, tokenizer)
    answers = predicted(list(corpus.answers), following, Cut(tokenizer), Cut(teacher), before=before)
    return [
        Forced(
            np.concatenate([prompt, forced.tokens]),
            np.full(len(prompt) + len(forced.tokens), np.nan),
            np.concatenate([np.full(len(prompt), -1), forced.best]),
        )
        for prompt, forced in zip(corpus.prompts, answers, strict=True)
    ]
