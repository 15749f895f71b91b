"""Was this model made from ours? Tests of a model; what we drew ourselves gives an exact p-value."""
