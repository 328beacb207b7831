"""The slow truth, and checks of a model against it."""
