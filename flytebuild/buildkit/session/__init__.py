"""The session: what BuildKit may ask of us while it solves."""
