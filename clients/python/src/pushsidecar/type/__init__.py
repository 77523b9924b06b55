"""Types that every vendor's service shares."""
