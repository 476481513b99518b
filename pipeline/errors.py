"""The one exception of the pipeline: something that the user can put right."""


class UserError(Exception):
    """One sentence that names what was wrong and what to do; a stage prints it, not a traceback, and exits with 1."""
