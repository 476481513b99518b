"""The parts of ``make study``: its file, its trials, their runs, and where those run."""
