"""Model folders and the prompts of their families."""
