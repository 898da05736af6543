"""Model folders, prompts per family, and where a response ends."""
