"""Building a plan's images: one seam, one BuildKit implementation, small wrappers around it."""
