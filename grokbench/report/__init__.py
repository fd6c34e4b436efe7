"""Results for people and programs: terminal tables and the live display, JSON, GitHub."""
