"""Every word of the study, declared once."""
