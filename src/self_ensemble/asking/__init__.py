"""Questions on their way into the model, and answers on their way out."""
