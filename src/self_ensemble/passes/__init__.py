"""Forward passes over packed questions: what is read, and where keys and values lie."""
