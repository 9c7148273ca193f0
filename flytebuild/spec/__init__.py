"""What an image is: values, their canonical encoding and their digests. No I/O."""
