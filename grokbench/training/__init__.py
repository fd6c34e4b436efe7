"""RunSpecs to Records: in this process, and in others beside it."""
