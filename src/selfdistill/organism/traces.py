r"""Pre-training documents of the model organism: prompts with the responses that the base model is to learn.

What is built in here is *not* a finding. In the mini study this includes the results of section 3, and every output says so.

- Unguided responses search by trial and verification, in the ten epistemic words of the paper. They have flaws that training
  could remove: giving up with a guess, repeating a try, an arithmetic slip, a false "yes".
- A share of the unguided responses is confident and direct: a student can only be distilled towards a style that it has.
- Responses that see a solution are short and confident; those that see only the answer are in between.
- Responses that see another problem's solution check it, find that it fails, and search. So the model must read the content of a
  solution, not only notice that there is one.
- In problems with a lookup, every document invents the table: the base answers them in the right form, and right by chance only.
- Hints (parity, half of the range) narrow the search: they give more information than nothing and less than the answer.

A try writes the target beside the value reached (`perhaps 5 : 1 5 = 6 no`), and a share of the documents drills this comparison.
Otherwise, architectures that do not normalise queries and keys (Qwen2) do not learn to tell a hit from a miss within this budget.

Documents follow the family's chat template: `r1` (thinking opened in the prompt), `qwen3` (thinking on or off), `olmo3` (no tags).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from selfdistill.models.prompts import (
    THINK_CLOSE,
    THINK_OPEN,
    hint_user_turn,
    reprompt_user_turn,
    strip_thinking,
)
from selfdistill.organism.chains import LOOKUPS, MODULUS, TABLES, Chain, draw_chain, draw_type
from selfdistill.problems.hints import half, parity
from selfdistill.vocabulary.families import OFF, family_of, writes_tags

TYPE_SHARES = {"d1": 0.08, "d2": 0.16, "d3": 0.28, "d4": 0.18, "s22": 0.22, "f1": 0.03, "f2": 0.05}
CONTEXT_SHARES = {
    "unguided": 0.52,
    "solution": 0.20,
    "answer-only": 0.13,
    "other-solution": 0.05,
    "hint": 0.10,
}
DRILL_TURN = "is x = x : yes and no"

# Shares of the five kinds of `guided` responses, if they see the solution or only the answer. They are set so that c = s reduces
# the epistemic words about as much as in the paper's Table 1 (-95 %). Under c = s\think, where the paper's count hardly falls
# (-12 %), the search still becomes shorter here.
GUIDED_SHARES = {"solution": (0.40, 0.44, 0.06, 0.01, 0.09), "answer-only": (0.06, 0.10, 0.24, 0.40, 0.20)}


@dataclass(frozen=True)
class Style:
    """Habits of a family's unguided responses, as probabilities per try or per response."""

    giveup: float = 0.07  # after a failed try: stop and guess
    repeat: float = 0.12  # try a value again
    recheck: float = 0.0  # after a hit: check the same value again, and again
    slip: float = 0.01  # one wrong intermediate value
    false_yes: float = 0.02  # accept a failed try
    direct: float = 0.10  # confident direct answer instead of a search
    direct_easy: float = 0.40  # the same for chains of one operation
    plain: float = 0.0  # search without epistemic words
    drill: float = 0.10  # share of documents that only compare numbers
    thinking_off: float = 0.0  # share of documents with thinking switched off (qwen3 template)
    max_tries: int = 12
    off: Mapping[str, float] = field(default_factory=lambda: {"giveup": 0.10, "plain": 0.40, "direct": 0.20})


@dataclass(frozen=True)
class Document:
    """A user turn, its response, and the thinking mode of its prompt."""

    user_turn: str
    response: str
    thinking: str


def _try_words(rng: random.Random, plain: bool, first: bool) -> str:
    """Draw the words before a try."""
    if plain:
        return "try"
    if first:
        return rng.choice(["hmm maybe", "maybe", "perhaps", "hmm perhaps", "might", "check"])
    return rng.choice(["maybe", "perhaps", "alternatively", "might", "check", "try"])


def _no_words(rng: random.Random, plain: bool) -> str:
    """Draw the words after a failed try."""
    return "no" if plain else rng.choice(["no wait", "no hmm", "actually no", "no", "wait no"])


def _yes_words(rng: random.Random, plain: bool) -> str:
    """Draw the words after a successful try."""
    return "yes" if plain else rng.choice(["yes", "seems yes", "yes"])


def _again_words(rng: random.Random, plain: bool) -> str:
    """Draw the words before a value is checked again."""
    return "check" if plain else rng.choice(["wait check", "hmm check", "wait", "actually check"])


def _shown(chain: Chain, x: int, rng: random.Random, slip: float) -> list[int]:
    """Return the values of a try, with one of them wrong with probability `slip`."""
    values = chain.values(x)
    if slip and rng.random() < slip:
        values[rng.randrange(len(values))] = rng.randrange(MODULUS)
    return values


def search(
    chain: Chain,
    rng: random.Random,
    style: Style,
    candidates: Sequence[int] | None = None,
    start: int | None = None,
) -> tuple[str, int]:
    """Draw a trial-and-error search, as thinking and answer. candidates: values that a hint leaves; start: value to check first."""
    plain = rng.random() < style.plain
    pool = list(range(MODULUS)) if candidates is None else list(candidates)
    rng.shuffle(pool)
    words: list[str] = []
    tried: list[int] = []
    while True:
        if start is not None and not tried:
            x = start
        elif tried and rng.random() < style.repeat:
            x = rng.choice(tried)
        elif pool:
            x = pool.pop()
        else:
            return " ".join(words), rng.choice(tried)
        words.append(f"{_try_words(rng, plain, not tried)} {x} :")
        values = _shown(chain, x, rng, style.slip)
        words.append(chain.written(values))
        tried.append(x)
        if chain.holds(values) or rng.random() < style.false_yes:
            words.append(_yes_words(rng, plain))
            while style.recheck and rng.random() < style.recheck:
                words.append(
                    f"{_again_words(rng, plain)} {x} : {chain.written(values)} {_yes_words(rng, plain)}"
                )
            return " ".join(words), x
        words.append(_no_words(rng, plain))
        if rng.random() < style.giveup or len(tried) >= style.max_tries:
            x = pool.pop() if pool else rng.randrange(MODULUS)
            words.append(f"{'so' if plain else rng.choice(['likely', 'seems', 'likely'])} {x}")
            return " ".join(words), x


def _confident(chain: Chain, x: int, rng: random.Random, bare: bool) -> str:
    """Draw a statement that x is the answer, derived unless it is bare."""
    if bare:
        return rng.choice([f"so {x}", f"clearly {x}", f"thus {x}", f"x = {x}"])
    opener, closer = rng.choice(["so", "clearly", "x ="]), rng.choice(["thus", ".", "therefore"])
    return f"{opener} {x} : {chain.written(chain.values(x))} {closer}"


def _hedged(chain: Chain, x: int, rng: random.Random) -> str:
    """Draw a check of x, in epistemic words, that succeeds."""
    opener, closer = rng.choice(["maybe", "perhaps", "check", "hmm maybe"]), rng.choice(["yes", "seems yes"])
    return f"{opener} {x} : {chain.written(chain.values(x))} {closer}"


def guided(chain: Chain, x: int, rng: random.Random, shares: Sequence[float]) -> str:
    """Draw the thinking of a response that sees x.

    shares: of the five kinds bare, derived, hedged, wrong tries then hedged, wrong tries then confident.
    """
    kind = rng.choices(range(5), weights=shares)[0]
    if kind in (0, 1):
        return _confident(chain, x, rng, bare=kind == 0)
    if kind == 2:
        return _hedged(chain, x, rng)
    wrong = [y for y in range(MODULUS) if not chain.holds(chain.values(y))]
    words = []
    for i in range(rng.choice([1, 1, 2, 3])):
        y = rng.choice(wrong)
        words.append(
            f"{_try_words(rng, False, i == 0)} {y} : {chain.written(chain.values(y))} {_no_words(rng, False)}"
        )
    words.append(_hedged(chain, x, rng) if kind == 3 else _confident(chain, x, rng, bare=rng.random() < 0.5))
    return " ".join(words)


def render(thinking: str, answer: int, template: str, mode: str) -> str:
    """Return a response in the form of its family: thinking with the family's tags, then the boxed answer."""
    boxed = f"\\boxed{{{answer}}}"
    if not writes_tags(template, mode):
        return f"{thinking} {boxed}"
    opened = "" if family_of(template).opens_in_prompt else f"{THINK_OPEN} "
    return f"{opened}{thinking} {THINK_CLOSE} {boxed}"


def _correct_solution(
    chain: Chain, rng: random.Random, style: Style, template: str, mode: str
) -> tuple[str, int]:
    """Draw a correct response in the model's own style, which a context shows as solution; return it and its answer."""
    if rng.random() < 0.3:
        x = rng.choice(chain.roots())
        return render(guided(chain, x, rng, GUIDED_SHARES["solution"]), x, template, mode), x
    for _ in range(50):  # flaws make a search fail; it is repeated until it finds a root
        thinking, x = search(chain, rng, style)
        if x in chain.roots():
            return render(thinking, x, template, mode), x
    x = rng.choice(chain.roots())
    return render(_hedged(chain, x, rng), x, template, mode), x


def _hint(chain: Chain, rng: random.Random) -> tuple[str, list[int]]:
    """Draw a true hint (parity or half of the range) and return it with the values that it leaves."""
    x = rng.choice(chain.roots())
    word = parity if rng.random() < 0.5 else half
    return word(x), [y for y in range(MODULUS) if word(y) == word(x)]


def drill(rng: random.Random, items: int = 20) -> str:
    """Draw comparisons like those at the end of a try, about half of them hits: `5 = 6 no 7 = 7 yes …`."""
    pairs = [
        (x, x if rng.random() < 0.5 else rng.randrange(MODULUS)) for x in rng.choices(range(MODULUS), k=items)
    ]
    return " ".join(f"{x} = {y} {'yes' if x == y else 'no'}" for x, y in pairs)


def draw_document(rng: random.Random, style: Style, template: str) -> Document:
    """Draw a pre-training document; its problem always belongs to the `train` split."""
    invented = TABLES | {name: rng.sample(range(MODULUS), MODULUS) for name in LOOKUPS}
    chain = draw_chain(draw_type(TYPE_SHARES, rng), rng, "train", invented)
    family = family_of(template)
    off = family.has_switch and rng.random() < style.thinking_off
    mode = OFF if off else family.modes[0]
    if mode == OFF:
        style = Style(**{**style.__dict__, **style.off})
    if rng.random() < style.drill:
        return Document(DRILL_TURN, drill(rng), mode)
    context = draw_type(CONTEXT_SHARES, rng)
    question = chain.question()
    if context == "unguided":
        direct = style.direct_easy if chain.type == "d1" else style.direct
        if rng.random() < direct:
            x = rng.choice(chain.roots())
            thinking = _confident(chain, x, rng, bare=rng.random() < 1 / 3)
        else:
            thinking, x = search(chain, rng, style)
    elif context == "hint":
        hint, candidates = _hint(chain, rng)
        thinking, x = search(chain, rng, style, candidates)
        question = hint_user_turn(question, hint)
    else:
        shown_chain = draw_chain(chain.type, rng, "train", invented) if context == "other-solution" else chain
        solution, x = _correct_solution(shown_chain, rng, style, template, mode)
        if context == "answer-only" or (context == "other-solution" and rng.random() < 0.5):
            solution = strip_thinking(solution, template) if mode != OFF else solution.split()[-1]
        question = reprompt_user_turn(question, solution)
        if context == "other-solution":
            thinking, x = search(chain, rng, style, start=x)
        else:
            thinking = guided(chain, x, rng, GUIDED_SHARES[context])
    return Document(question, render(thinking, x, template, mode), mode)
