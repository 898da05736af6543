"""Requests to a teacher in words, which need no solution; all other prompt texts are in `prompts`, which bases and evaluations depend on."""

CONCISE = "Solve the problem correctly and concisely: write down only the steps that the answer needs."


def instructed_user_turn(question: str, instruction: str) -> str:
    """Return the user turn with an instruction before the question."""
    return f"{instruction}\n\n{question}"
