"""The simulated XG v3 push API, written from the vendor's two documents.

S1 is "Push API v3", S0 the older "Rest API overview (V3)"; where they disagree S1 wins.
"""
