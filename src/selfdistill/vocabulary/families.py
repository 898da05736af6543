"""Model families: how a chat template writes its thinking. A family is one declaration.

| family | example | generation prompt | response |
|---|---|---|---|
| `r1` | DeepSeek-R1-Distill-Qwen-7B | ends with `<think>` | starts inside the thinking, one unmatched `</think>` |
| `qwen3` | Qwen3-8B | plain (thinking on) or with an empty think block (off) | `<think> … </think> answer`, or no tags |
| `olmo3` | OLMo-3-7B-Instruct | plain | no think tags |
"""

from dataclasses import dataclass

ON, OFF = "on", "off"
"""Positions of a template's thinking switch."""


@dataclass(frozen=True)
class Family:
    """One family.

    modes: allowed values of a model's `thinking`, the default first; has_tags: responses mark their thinking with tags;
    opens_in_prompt: the prompt ends with the opening tag; mini_prompt: generation prompt of the family's mini model
    (Jinja, `organism.tokenizer`).
    """

    name: str
    modes: tuple[str, ...]
    has_tags: bool
    opens_in_prompt: bool
    mini_prompt: str

    @property
    def has_switch(self) -> bool:
        """Return whether the template can switch thinking on and off."""
        return OFF in self.modes


_DECLARED = (
    Family(
        "r1",
        ("prompt-tag",),
        has_tags=True,
        opens_in_prompt=True,
        mini_prompt="<|assistant|> <think>",
    ),
    Family(
        "qwen3",
        (ON, OFF),
        has_tags=True,
        opens_in_prompt=False,
        mini_prompt="<|assistant|>{% if enable_thinking is defined and not enable_thinking %} <think> </think>{% endif %}",
    ),
    Family("olmo3", ("none",), has_tags=False, opens_in_prompt=False, mini_prompt="<|assistant|>"),
)
FAMILIES: dict[str, Family] = {family.name: family for family in _DECLARED}
MODES = tuple(dict.fromkeys(mode for family in _DECLARED for mode in family.modes))
"""All values of a model's `thinking`."""


def family_of(template: str) -> Family:
    """Return the family of a template; raise ValueError if it is not declared."""
    if template not in FAMILIES:
        raise ValueError(f"unknown template {template!r}; allowed: {', '.join(FAMILIES)}")
    return FAMILIES[template]


def writes_tags(template: str, mode: str) -> bool:
    """Return whether a response in this thinking mode carries think tags."""
    return family_of(template).has_tags and mode != OFF
