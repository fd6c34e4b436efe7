"""What records say of a claim."""
