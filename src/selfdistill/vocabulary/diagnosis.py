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
MEASURED_ON: dict[str, str] = {
    "answered": "problems that the base answered",
    "responses": "its responses to them",
    "demonstrated": "responses that student and teacher read",
    "guided": "correct responses under the context that were scored",
}
"""Count -> what the features rest on."""
PROBLEMS, ROLLOUTS = 64, 8
"""Largest number of problems that the base answers, and responses per problem, unless told otherwise."""
COUNTS = ("problems", "response_tokens")
"""Features whose ratios matter: their logarithm predicts."""
