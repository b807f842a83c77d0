"""What was measured beforehand for the book, and the scripts that measure it again."""
