"""Wordings fused again, from what was kept of their predictions; no model and no torch."""
