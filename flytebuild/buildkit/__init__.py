"""A client of BuildKit's control API: connect, keep a session open, solve, follow the progress."""
