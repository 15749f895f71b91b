"""A teacher that answers, with or without a mark, and students that are trained on its answers."""
