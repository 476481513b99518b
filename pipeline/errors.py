"""What a person can mend."""


class UserError(SystemExit):
    """One sentence that names what is wrong and what to do.

    A SystemExit, because Isaac Lab prints a traceback for any other error that passes through the running simulator.
    """
