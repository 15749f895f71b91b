"""One distillation from the first request to the case, and loops in which nobody is guilty."""
