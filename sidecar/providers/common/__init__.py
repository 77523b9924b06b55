"""What every vendor's provider needs and no vendor owns. Knows no vendor's names."""
