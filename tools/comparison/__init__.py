"""The parts of ``make compare`` and ``make report``: runs and their groups, the statistics, the page."""
