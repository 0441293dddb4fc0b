"""One writer per dataset in a bucket: an object that names its holder.

It is created only where there is none; endpoints that do not know that condition are asked again after
a moment, when the last of several writers is known. No heartbeat: the lock of a holder that died on
this machine is taken over, that of another machine's is for people to remove, as on a shared disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from typing import TYPE_CHECKING, Any

from segtools.dataset.lock import myself, read_holder, refusal
from segtools.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segtools.objectstore.bucket import Bucket

KEY = ".lock"
_SETTLE_S = 0.5
"""Longer than the way of a small object to the bucket."""
_held: set[str] = set()
"""Tokens of the locks that this process holds."""


@contextlib.contextmanager
def bucket_locked(bucket: Bucket) -> Iterator[None]:
    """Hold the dataset in a bucket while the block runs.

    Raises
    ------
    DatasetError
        ``dataset-locked``: a living run of this machine, or any run of another one, holds it.
    EnvironmentProblem
        The bucket cannot be written.
    """
    token = uuid.uuid4().hex
    mine = json.dumps(myself() | {"token": token}).encode()
    found = bucket.get_bytes(KEY)
    if found is not None:
        if _is_alive(read_holder(found)):
            raise refusal(bucket.url, f"{bucket.url}/{KEY}", read_holder(found))
        bucket.delete([KEY])
    is_ours = bucket.create(KEY, mine)
    # Others may have seen the same dead lock; and where nothing is refused, the condition is not known.
    if is_ours and (found is not None or bucket.create(KEY, mine)):
        time.sleep(_SETTLE_S)
        is_ours = bucket.get_bytes(KEY) == mine
    if not is_ours:
        raise refusal(bucket.url, f"{bucket.url}/{KEY}", read_holder(bucket.get_bytes(KEY) or b""))
    _held.add(token)
    try:
        yield
    finally:
        _held.discard(token)
        with contextlib.suppress(EnvironmentProblem):  # whoever comes next sees that nobody holds it
            if bucket.get_bytes(KEY) == mine:
                bucket.delete([KEY])


def bucket_holder(bucket: Bucket) -> dict[str, Any] | None:
    """Who holds the dataset in a bucket now; None if nobody does, whatever a dead run left."""
    holder = read_holder(bucket.get_bytes(KEY) or b"")
    return holder if holder and _is_alive(holder) else None


def _is_alive(holder: dict[str, Any]) -> bool:
    """Whether a holder may live: on another machine it always may."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return True
    if pid == os.getpid():  # in a container that was started anew, all have the same number
        return holder.get("token") in _held
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
