"""The features of a planned run of self-distillation: what is known of it before any training."""

FEATURES: dict[str, str] = {
    "problems": "distinct problems of the training set",
    "accuracy": "share of the base's responses that are correct",
    "response_tokens": "tokens / response of the base",
    "fork_share": "share of the base's tokens that are the first word after a failed check",
    "demonstration_share": "share of responses for which the teacher has a demonstration",
    "divergence": "divergence of student and teacher, nats / token (SDPO's loss before the first update)",
    "epistemic_change": "probability of an epistemic word, teacher minus student, mean / token",
    "epistemic_change_at_forks": "what of that change is at forks, mean / token",
    "nats_per_response": "nats that the context tells, per correct response under it",
    "nats_per_token": "the same per token",
}
"""Feature -> what it is."""
COUNTS = ("problems", "response_tokens")
"""Features whose ratios matter: their logarithm predicts."""
