"""How fast a model answers on this machine, ours beside transformers' `generate`."""
