"""Other people's tools over the public `Ensemble`: a file each, and an extra of its own."""
