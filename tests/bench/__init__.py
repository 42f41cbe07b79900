"""`make bench`: what matters, measured against a named rival in one run; never asserted by a test."""
