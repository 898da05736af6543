"""Command-line tools: diagnose, doctor, measure, plan, publish, regrade, status; the other modules compute what `plan` prints."""
