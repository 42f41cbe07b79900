"""Private keys at rest: sealed to recipients, opened with an identity."""
