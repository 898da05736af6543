"""Command-line tools: status, plan, doctor, publish."""
