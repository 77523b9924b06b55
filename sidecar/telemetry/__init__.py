"""Traces, metrics and logs. What is written here never holds a token, an account, a title, a content or a secret."""
