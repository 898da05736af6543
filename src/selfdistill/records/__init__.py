"""Where results lie, how they are laid out, and how they are written."""
