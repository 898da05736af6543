"""Problem sets: made, fetched or read from files."""
