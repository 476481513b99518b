"""The trained policy: with its normalisation, as files, as a network that acts, and as exports."""
