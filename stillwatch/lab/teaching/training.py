"""Students: a model trained on prompts and answers, sequence by sequence, with `transformers.Trainer`.

Only answers count in the loss. Kept with what it cost and with the loss before and after.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.extras import need
from stillwatch.lab.teaching.corpus import Corpus, Lessons

Ids = NDArray[np.int64]
IGNORED = -100
"""What transformers leaves out of the loss."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one training took, and what came of it."""

    answer_tokens: int
    """Tokens that counted in the loss, over all epochs."""
    read_tokens: int
    """Those of the prompts too."""
    cpu_seconds: float
    """Of this process; after a resumption only what came after it."""
    wall_seconds: float
    loss_before: float
    """Mean of ``-log p`` over answers to held-out prompts."""
    loss_after: float


def train(
    model: Any,
    corpus: Corpus | Lessons,
    folder: Path,
    *,
    held_out: Corpus | Lessons,
    epochs: int = 1,
    batch: int = 8,
    rate: float = 1e-4,
    warmup: int = 8,
    seed: int = 0,
    save_every: int = 40,
    stop_after: int = 0,
) -> Costs:
    """Train a model, which is changed; what is there of an earlier, broken run is taken up where it was saved.

    AdamW with betas .9 and .95 and no decay, a cosine down to a tenth of the rate, gradients clipped at 1, bfloat16
    under autocast. On a machine with a GPU it runs there.

    Parameters
    ----------
    model
        In float32.
    folder
        ``checkpoint-*`` stands here until the training is done.
    held_out
        Answers to other prompts, for the loss before and after.
    save_every
        Steps between two checkpoints; 0: none.
    stop_after
        Stop after so many steps, as a broken run would; 0: never.
    """
    torch, transformers = need("torch"), need("transformers")
    need("accelerate")
    documents = corpus.documents()
    rows = [
        {"ids": ids, "begins": len(prompt)} for ids, prompt in zip(documents, corpus.prompts, strict=True)
    ]
    before = loss(model, held_out)
    clock, processor = time.perf_counter(), time.process_time()
    settings = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        num_train_epochs=epochs,
        max_steps=stop_after or -1,
        learning_rate=rate,
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        warmup_steps=warmup,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or 1,
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )
    trainer = transformers.Trainer(
        model=model, args=settings, train_dataset=rows, data_collator=lambda taken: _padded(torch, taken)
    )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    kept = transformers.trainer_utils.get_last_checkpoint(str(folder)) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=kept)
    model.eval()
    answers = sum(len(ids) for ids in corpus.answers) * epochs
    return Costs(
        answer_tokens=answers,
        read_tokens=sum(map(len, documents)) * epochs,
        cpu_seconds=time.process_time() - processor,
        wall_seconds=time.perf_counter() - clock,
        loss_before=before,
        loss_after=loss(model, held_out),
    )


def scratch(vocabulary: int, *, hidden: int = 64, layers: int = 4, heads: int = 4, seed: int = 0) -> Any:
    """A small Llama with random weights: with 49,152 tokens and the usual sizes 3.3 million parameters."""
    torch, transformers = need("torch"), need("transformers")
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
    )
    return transformers.LlamaForCausalLM(config)


def save(model: Any, tokenizer: Any, folder: Path, costs: Costs) -> None:
    """Weights in bfloat16, tokenizer and costs; checkpoints go. `done` says whether all of it is there."""
    torch = need("torch")
    model.to(torch.bfloat16).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    for left in folder.glob("checkpoint-*"):
        shutil.rmtree(left)
    (folder / "costs.json").write_text(json.dumps(asdict(costs), indent=1) + "\n", encoding="utf-8")


def done(folder: Path) -> bool:
    """Whether `save` ended there."""
    return (folder / "costs.json").is_file()


def loss(model: Any, corpus: Corpus | Lessons, *, batch: int = 8) -> float:
    """Mean of ``-log p`` over the tokens of all answers, each after its prompt; nats."""
    torch = need("torch")
    total, tokens = 0.0, 0
    rows = [{"ids": ids, "begins": len(p)} for ids, p in zip(corpus.documents(), corpus.prompts, strict=True)]
    device = next(model.parameters()).device
    wide = torch.autocast(device.type, torch.bfloat16)
    model.eval()
    with torch.inference_mode(), wide:
        for first in range(0, len(rows), batch):
            given = _padded(torch, rows[first : first + batch])
            counted = int((given["labels"][:, 1:] != IGNORED).sum())
            moved = {k: v.to(device) if hasattr(v, "to") else v for k, v in given.items()}
            total += float(model(**moved, use_cache=False).loss) * counted
            tokens += counted
    return total / tokens if tokens else math.nan


def _padded(torch: Any, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows padded on the right; logits and labels only from the last id before the shortest prompt's answer on."""
    longest = max(len(row["ids"]) for row in rows)
    from_ = min(row["begins"] for row in rows) - 1
    ids = torch.zeros((len(rows), longest), dtype=torch.int64)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for place, row in enumerate(rows):
        n = len(row["ids"])
        ids[place, :n] = torch.from_numpy(row["ids"])
        mask[place, :n] = 1
        labels[place, row["begins"] : n] = ids[place, row["begins"] : n]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": labels[:, from_:],
        "logits_to_keep": longest - from_,
    }
