"""What surrounds a job: locks, logs, manifests, fingerprints."""
