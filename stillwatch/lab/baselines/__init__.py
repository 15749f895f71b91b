"""Detectors that others published, re-implemented to be held against ours on one log in one run.

One module is one method, found by ``plugins.find("lab.baselines")``, with three names:

`NAME`
    what the table of a benchmark calls it.
`SOURCE`
    the paper or project, and every way in which this is not it.
`flag(workspace, *, log, seed) -> pyarrow.Table`
    one row for each account that sent a request: `account_id` (int64, the workspace's pseudonym), `score` (float64,
    the higher the more suspicious, null where the method had too little to look at), `flagged` (bool, by the
    method's own threshold) and `group` (string, null where it finds no groups).

Further columns: ``form:<name>`` (bool) is another form of the same method, flagged by its own threshold;
``rule:<name>`` (float64) is the score of one rule that stands alone and has no threshold of its own. The table's
metadata may hold, under ``b"stillwatch.notes"``, a JSON object of counts and thresholds.

`log` is the folder of the built log, or None; it is part of the signature for methods that need text, and none here
does: they all see what an import keeps. No method reads the truth, so nothing here is tuned to a scenario: thresholds
are the published ones or are taken from traffic of old accounts.
"""
