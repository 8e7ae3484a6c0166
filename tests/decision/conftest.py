"""Hypothesis settings: a shared core stalls at times, and a stall is not a failure."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, max_examples=50)
settings.load_profile("steady")
