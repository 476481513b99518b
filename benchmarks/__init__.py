"""How fast, against whom, measured in one go: ``make benchmark`` and ``make benchmark-gpu``."""
