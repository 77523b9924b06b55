"""What every vendor call goes through: admission, attempts, retries. Knows the contract, never a vendor's name."""
