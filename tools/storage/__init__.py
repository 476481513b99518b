"""The parts of ``make pull``, ``push``, ``fsck`` and ``tidy``: objects, where they are, what can go wrong there."""
