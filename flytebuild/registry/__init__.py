"""OCI registries: references to images, and the distribution API that answers questions about them."""
