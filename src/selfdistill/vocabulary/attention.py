"""The attention functions that a training may use (transformers' `attn_implementation`), and the package that each needs."""

import importlib.util
import re

DEFAULT = "sdpa"
PACKAGES = {
    "sdpa": None,
    "eager": None,
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
}
"""Attention function -> module of the package that it needs beside torch."""
KERNEL = re.compile(r"kernels-community/[\w.-]+(@[\w.-]+)?(:\w+)?")
"""A kernel of the hub's verified organisation, with a revision and a function if wanted; the package `kernels` loads it."""
KERNEL_FORM = "kernels-community/NAME"


def known_attention(name: str) -> str:
    """Return the name of an attention function. Raises ValueError for an unknown one."""
    if name not in PACKAGES and not KERNEL.fullmatch(name):
        allowed = ", ".join((*PACKAGES, KERNEL_FORM))
        raise ValueError(f"unknown attention {name!r}; allowed: {allowed}")
    return name


def missing_package(name: str) -> str | None:
    """Return the module that an attention function needs and this Python does not have; None if nothing is missing."""
    needed = PACKAGES.get(name, "kernels")
    return needed if needed and importlib.util.find_spec(needed) is None else None


def check_attention(name: str) -> None:
    """Raise ImportError if this Python lacks the package of an attention function.

    transformers would fall back to a kernel of the hub, which may compute something else.
    """
    if missing := missing_package(name):
        raise ImportError(
            f"attn_implementation: {name} needs the package {missing}, which is not installed; `sdpa` needs none"
        )
