"""One question looked into: what every wording and method said at every step of the answers."""
