"""Distillation: a student learns from a teacher's answers, or from all that it would say at each place of them."""
