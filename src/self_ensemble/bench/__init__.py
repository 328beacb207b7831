"""Side by side measurement of this engine and its rivals."""
