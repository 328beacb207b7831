"""Whole jobs over a data set: what each command does, without its options and its printing."""
