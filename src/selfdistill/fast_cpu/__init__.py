"""Faster paths for tiny models on CPUs; each has a plain twin that every other study uses."""
