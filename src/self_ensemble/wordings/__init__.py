"""Wordings as a product: made by a model, checked by a gate, chosen, kept."""
