"""Access to language models: what any of them can be asked (`protocol`), one on this machine, one that was recorded."""
