"""Text becomes integers, once: `normalise` says what counts as the same text, `sketch` makes the integers,
`elicitation` holds the words that ask for training material, `keying` the secret constants."""
