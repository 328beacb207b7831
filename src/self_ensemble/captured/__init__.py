"""Decoding in steps of fixed shape, which CUDA replays as graphs."""
