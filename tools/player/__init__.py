"""The parts of ``make play``: what is shown beside the scene, and the simulation that it controls."""
