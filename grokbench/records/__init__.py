"""What a run leaves: grok times, provenance, and the store."""
