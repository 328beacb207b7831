"""A run over a data set: batches in, rows on disk, resumable at any point."""
