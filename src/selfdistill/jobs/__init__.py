"""What surrounds a job: manifest, fingerprint, locks, resume folder, GPUs, and the warm process."""
