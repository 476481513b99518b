"""What can go wrong with a remote, in one sentence that says what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from pipeline.experiment.errors import UserError, one_line

CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3, call `ssh-add` for SSH, or see `dvc remote modify --local`"
)
AGAIN = "run the same again, which goes on where it stopped"
FULL = f"is full; make room there, and {AGAIN}"
# All that SFTP says of a full disk is "Failure", and an S3 server has an "internal error".
UNKNOWN = f"failed and does not say why, as where its disk is full; {AGAIN}"
OTHER = f"failed; {AGAIN}"
# By names, the nearest class first: S3's and SSH's packages need not be imported to tell that they did not fail.
REMEDIES = {
    "NoCredentialsError": f"has no credentials to show: {CREDENTIALS}",
    "PartialCredentialsError": f"has half of the credentials: {CREDENTIALS}",
    "HostKeyNotVerifiable": "shows a host key that ~/.ssh/known_hosts does not have: it is new to you, or another "
    "machine answers in its place; ask who runs it, and see what `ssh` says",
    "PermissionDenied": f"does not let you in: {CREDENTIALS}",
    "PermissionError": f"does not allow that: {CREDENTIALS}, or its folder belongs to somebody else",
    "FileNotFoundError": "cannot be used: its bucket, or the file of your key, is not there",
    "SFTPFailure": UNKNOWN,
    "EndpointConnectionError": f"cannot be reached; {AGAIN}",
    "OSError": f"cannot be reached, or failed; {AGAIN}",
}


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn whatever a store raises into one sentence.

    Raises:
        UserError: For any exception.
    """
    try:
        yield
    except Exception as error:  # of four libraries, which have no class in common
        raise UserError(f"{name} {_remedy(error)} ({type(error).__name__}: {one_line(error)})") from None


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FULL
    if isinstance(error, OSError) and error.errno == errno.EREMOTEIO:
        return UNKNOWN
    return next((REMEDIES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in REMEDIES), OTHER)
