"""The paper's claims, their tests, and the verdicts in words."""
