"""Interventions on the epistemic words when a response is sampled: is it the words that matter? Not in the paper."""

NONE, BAN, FORCE, NEUTRAL = "none", "ban", "force", "neutral"
INTERVENTIONS = (BAN, FORCE, NEUTRAL)
"""ban: never sampled; force: at each token at least as likely, together, as under the base; neutral: NEUTRAL_WORD is written in their place."""
NEUTRAL_WORD = "try"
"""Proposes a candidate as the epistemic words do, with neither doubt nor certainty ("so" is the organism's word for certainty)."""
