"""Checkpoints: loading them safely, averaging them."""
