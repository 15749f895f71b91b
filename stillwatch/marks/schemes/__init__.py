"""One module is one mark of one engine, found by `plugins.find("marks.schemes")`: `CARD`, `read`, `test`, `mark`,
`simulate`."""
