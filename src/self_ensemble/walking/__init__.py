"""From logits to answers: fusion rules, the choice of tokens, and the tree they walk on."""
