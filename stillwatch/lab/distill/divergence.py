"""How far a student's probabilities lie from a teacher's, place by place; nats.

References
----------
Hinton, G., Vinyals, O. and Dean, J. (2015). Distilling the knowledge in a neural network. arXiv:1503.02531.
Gu, Y. et al. (2024). MiniLLM. ICLR. arXiv:2306.08543 (the reverse divergence).
Agarwal, R. et al. (2024). On-policy distillation of language models. ICLR. arXiv:2306.13649, equation 1 and
algorithm 1 (answers of the student itself).
"""

from __future__ import annotations

from typing import Any

from stillwatch.extras import need


def divergence(student: Any, teacher: Any, kind: str) -> Any:
    """KL at each place from logits, float (places, vocabulary) each: (places,), 0 or above.

    Parameters
    ----------
    kind
        ``forward``: KL(teacher, student), which makes a student cover all that the teacher would say. ``reverse``:
        KL(student, teacher), which makes it say nothing that the teacher would not.
    """
    torch = need("torch")
    ours = torch.log_softmax(student.float(), dim=-1)
    theirs = torch.log_softmax(teacher.float(), dim=-1)
    if kind == "forward":
        return (theirs.exp() * (theirs - ours)).sum(dim=-1)
    return (ours.exp() * (ours - theirs)).sum(dim=-1)
