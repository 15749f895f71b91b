"""Stillwatch: detect, prove, measure and counter unauthorized distillation of language models."""

__version__ = "0.1.0"
