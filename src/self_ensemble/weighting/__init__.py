"""Where the weights of wordings come from: estimators, files, and a small labelled set."""
