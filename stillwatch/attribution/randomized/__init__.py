"""Tests that rest on randomness of ours: a coin, a key, a drawn phrase. Their p-values are exact."""
