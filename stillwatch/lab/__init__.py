"""Makes ground truth: logs with known campaigns and known innocents, and the score of what was found in them."""

from stillwatch.lab.score import Score, Share, score
from stillwatch.lab.traffic import Built, build

__all__ = ["Built", "Score", "Share", "build", "score"]
