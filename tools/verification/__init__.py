"""The parts of ``make verify``: what dvc.lock says, a clone to run in, the stages run again, the verdict."""
