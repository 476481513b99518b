"""The stages of dvc.yaml: one file, one process, one simulator each."""
