"""Verdicts for people and programs: `terminal` tables and the live display, `export` as JSON."""
