"""What a result was made with, told apart by content: files, the user's code, values."""
