"""What a browser carries, and what it means: pure functions and records, without input or output."""
