"""Losses of self-distillation and the memory-bounded ways to compute them."""
