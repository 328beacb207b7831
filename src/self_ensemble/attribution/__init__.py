"""Which wording decided which token of an answer."""
