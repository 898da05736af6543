"""What is asked: the typed study files and the grid of runs."""
