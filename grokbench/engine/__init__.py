"""Many runs at once: ensembles, packs and how large they are."""
