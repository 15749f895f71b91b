"""Scenarios of the lab: one file each with `SCENARIO` (its name), `SUMMARY` and `build(world)`."""
