"""The model card: what tells a stranger what the trained policy is, how to use it and how it was made."""
