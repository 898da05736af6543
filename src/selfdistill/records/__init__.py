"""Files of results: their paths, their columns, and how they are written, checked and resumed."""
