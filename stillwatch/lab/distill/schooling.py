"""The training itself, by `transformers.Trainer`: only the loss is ours, and which answers it is taken on."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillwatch.extras import need
from stillwatch.lab.distill.divergence import divergence
from stillwatch.lab.distill.places import Ids, Lesson, keeps_last, logits, padded, reading, targets
from stillwatch.lab.distill.settings import Settings
from stillwatch.lab.distill.speakers import Speaker
from stillwatch.lab.distill.spending import Amounts, Spent, Watch

STAGE = "training"


def train(
    weights: Any,
    lessons: Sequence[Lesson],
    work: Path,
    settings: Settings,
    *,
    ends: Sequence[int],
    teacher: Speaker | None = None,
    spent: Spent,
    save_every: int = 50,
    stop_after: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> bool:
    """Train a model, which is changed; what is there of a broken run is taken up where it was saved.

    AdamW with betas .9 and .95 and no decay, a cosine down to a tenth of the rate, gradients clipped at 1.

    Parameters
    ----------
    weights
        In float32, with adapters around them or not.
    work
        ``checkpoint-*`` stand here.
    ends
        Ids that end an answer, for those that the student samples.
    teacher
        At the level of logits.
    save_every
        Steps between two checkpoints.
    stop_after
        Stop after so many steps, as a broken run would; 0: never.

    Returns
    -------
    Whether all of it was trained.
    """
    torch, transformers = need("torch"), need("transformers")
    need("accelerate")
    school = _School(weights, settings, ends, teacher)
    arguments = transformers.TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=settings.batch,
        num_train_epochs=settings.epochs,
        learning_rate=settings.rate,
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        warmup_steps=settings.warmup,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        bf16=settings.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_steps=save_every,
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )

    class Trainer(transformers.Trainer):  # type: ignore[name-defined,misc]  # the library comes late
        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
            # Here and not in the loss: what autocast remembers of weights without gradients would hide them from it.
            taken = school.answered(inputs["lessons"], self.state.global_step)
            return super().training_step(model, padded(taken), num_items_in_batch)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            return school.loss(model, inputs)

    class Steps(transformers.TrainerCallback):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.watch = Watch(gpu=spent.gpu)

        def on_step_end(self, args: Any, state: Any, control: Any, **told: Any) -> None:
            on_progress(state.global_step, state.max_steps)
            if state.global_step == stop_after:
                control.should_training_stop = control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **told: Any) -> None:
            self.count()

        def count(self) -> None:
            spent.add(STAGE, {**school.counted(), **self.watch.lap()})

    def both(rows: list[Lesson]) -> dict[str, Any]:
        return {**padded(rows), "lessons": rows}

    trainer = Trainer(
        model=weights,
        args=arguments,
        train_dataset=list(lessons),
        data_collator=both,
    )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    steps = Steps()
    trainer.add_callback(steps)
    trainer.train(resume_from_checkpoint=_last(work))
    steps.count()
    # Trainer lays autocast around `forward`; what comes after decides for itself.
    trainer.accelerator.unwrap_model(weights, keep_fp32_wrapper=False)
    weights.eval()
    return bool(trainer.state.global_step >= trainer.state.max_steps)


class _School:
    """The loss of one batch, whose answers it is taken on, and how many tokens went through."""

    def __init__(
        self, weights: Any, settings: Settings, ends: Sequence[int], teacher: Speaker | None
    ) -> None:
        self.weights, self.settings, self.ends, self.teacher = weights, settings, list(ends), teacher
        self.keeps = keeps_last(weights)
        self.teacher_keeps = teacher is not None and keeps_last(teacher.weights)
        self.amounts: Amounts = {}

    def answered(self, lessons: Sequence[Lesson], step: int) -> list[Lesson]:
        """These lessons, or the student's own answers to their prompts; a step decides it, whatever went before."""
        settings = self.settings
        taken = list(lessons)
        if np.random.default_rng([settings.seed, 11, step]).random() < settings.on_policy:
            answers = write(
                self.weights,
                [one.prompt for one in lessons],
                length=settings.length,
                temperature=settings.temperature,
                ends=self.ends,
                dtype=settings.dtype,
                seed=int(np.random.default_rng([settings.seed, 12, step]).integers(1 << 32)),
            )
            taken = [Lesson(one.prompt, answer) for one, answer in zip(lessons, answers, strict=True)]
            self._count("student_sampled_tokens", sum(len(one.answer) for one in taken))
        self._count("trained_tokens", sum(len(one.answer) for one in taken))
        self._count("read_tokens", sum(len(one.prompt) + len(one.answer) for one in taken))
        return taken

    def loss(self, model: Any, given: dict[str, Any]) -> Any:
        """Mean over the places of answers; nats."""
        torch = need("torch")
        ours = logits(model, given, keeps=self.keeps)
        if self.teacher is None:
            return torch.nn.functional.cross_entropy(ours.float(), targets(given))
        with reading(self.teacher.weights, self.settings.dtype):
            theirs = logits(self.teacher.weights, given, keeps=self.teacher_keeps)
        self._count("teacher_read_tokens", int(given["attention_mask"].sum()))
        return divergence(ours, theirs, self.settings.divergence).mean()

    def counted(self) -> Amounts:
        """Tokens since the last look."""
        found, self.amounts = self.amounts, {}
        return found

    def _count(self, name: str, tokens: int) -> None:
        self.amounts[name] = self.amounts.get(name, 0) + tokens


def write(
    weights: Any,
    prompts: Sequence[Ids],
    *,
    length: int,
    temperature: float,
    ends: Sequence[int],
    dtype: str,
    seed: int,
) -> list[Ids]:
    """Answers that a model samples, each up to its end; the seed decides them, and no other stream moves.

    Parameters
    ----------
    prompts
        int64 each; padded on the left, so that all are answered at once.
    """
    torch = need("torch")
    where = next(weights.parameters()).device
    if where.type == "cpu" and dtype == "bfloat16":
        # Autocast would turn every weight at every token: on a CPU a copy is cheaper, and memory has room for it.
        weights = copy.deepcopy(weights)
        weights = weights.merge_and_unload() if hasattr(weights, "merge_and_unload") else weights
        weights = weights.to(torch.bfloat16)
    longest = max(map(len, prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.from_numpy(prompt)
        mask[row, longest - len(prompt) :] = 1
    was = weights.training
    weights.eval()
    wide = torch.autocast(where.type, torch.bfloat16, enabled=dtype == "bfloat16" and where.type != "cpu")
    with torch.random.fork_rng(), torch.no_grad(), wide:
        torch.manual_seed(seed)
        made = weights.generate(
            input_ids=ids.to(where),
            attention_mask=mask.to(where),
            max_new_tokens=length,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            eos_token_id=list(ends) or None,
            pad_token_id=ends[0] if ends else 0,
        )
    weights.train(was)
    found = []
    for row in made[:, longest:].cpu().numpy():
        ended = np.flatnonzero(np.isin(row, list(ends)))
        found.append(row[: ended[0] + 1] if len(ended) else row)
    return found


def _last(work: Path) -> str | None:
    """The newest whole checkpoint; its state is what is written last. Others go."""
    whole = None
    numbered = [(int(place.name.rpartition("-")[2]), place) for place in work.glob("checkpoint-*")]
    for _, place in sorted(numbered, reverse=True):
        if whole is None and (place / "trainer_state.json").is_file():
            whole = str(place)
        else:
            shutil.rmtree(place)
    return whole
