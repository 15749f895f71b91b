"""What we leave in served answers, and how it is read back: one file for each mark of a serving engine in `schemes`,
`tape` counts everything once, `reading` is what a scheme saw and how improbable that is without the mark."""
