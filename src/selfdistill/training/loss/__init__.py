"""Losses of self-distillation, computed in bounded memory."""
