"""Isaac Lab: from the params to running environments."""
