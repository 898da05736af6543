"""Variants of the on-policy trainers, each with its loss as published, in the registry of methods."""
