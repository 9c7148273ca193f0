"""File trees as they are on this disk: what is ignored, what is in them, and what was known of it before."""
