"""Command-line tools: doctor, plan, publish, status."""
