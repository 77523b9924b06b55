"""One folder per vendor. What they have in common is `provider.py`; a vendor's names stay in its own folder."""
