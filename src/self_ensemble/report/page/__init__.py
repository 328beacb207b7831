"""Self-contained HTML pages: one look, no network, nothing of a user's text that could run."""
