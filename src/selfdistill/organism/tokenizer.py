r"""Word-level tokenizers of the mini families; their chat templates handle thinking as those of the real families do.

They are ordinary Hugging Face tokenizers (library `tokenizers`), saved in the model folder: all later stages load them and render
prompts with `apply_chat_template`, as for the 7-8 B models. `<think>` and `</think>` are ordinary words, not special tokens, so
that decoding keeps them, as in the real families.
"""

from typing import TYPE_CHECKING

from selfdistill.organism.chains import LOOKUPS, MODULUS, OPERATIONS
from selfdistill.vocabulary.families import family_of
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<eos>", "<unk>", "<|user|>", "<|assistant|>")
WORDS = (
    *[
        "<think>",
        "</think>",
        "find",
        "solve",
        "x",
        ":",
        "=",
        "and",
        ".",
        "yes",
        "no",
        "so",
        "thus",
        "clearly",
        "therefore",
        "try",
    ],
    *[
        "Correct",
        "solution:",
        "Correctly",
        "the",
        "original",
        "question.",
        "Hint:",
        "is",
        "odd",
        "even",
        "low",
        "high",
    ],
    *EPISTEMIC_WORDS,
    *OPERATIONS,
    *LOOKUPS,
    *map(str, range(MODULUS)),
    *(f"\\boxed{{{i}}}" for i in range(MODULUS)),
)

_TURNS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|> {{ m['content'] }} {% else %}"
    "<|assistant|> {{ m['content'] }} <eos> {% endif %}{% endfor %}"
)


def chat_template(template: str) -> str:
    """Return a family's chat template (Jinja): `r1` opens the thinking in the prompt; `qwen3`, if off, shows an empty one."""
    return _TURNS + "{% if add_generation_prompt %}" + family_of(template).mini_prompt + "{% endif %}"


def build_tokenizer(template: str) -> "PreTrainedTokenizerFast":
    """Return a tokenizer over the words of the task; words outside the vocabulary become `<unk>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(SPECIAL + WORDS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template(template)
    return tokenizer
