"""The verbs of the command line, one module each. What only one verb needs is imported when it runs."""
