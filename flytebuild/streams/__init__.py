"""Byte streams that are no plain sockets: through programs such as `ssh`, joined, and behind a private door."""
