"""The parts of ``make robustness``: what is changed, the episodes that are played so, and the picture of them."""
