"""Whether answers are right: normalisation, lemmas, matching, votes, intervals and tables."""
