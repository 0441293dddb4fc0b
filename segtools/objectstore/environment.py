"""What a child process finds in its environment: nothing of AWS where nothing is to be signed.

s5cmd reads the user's profile, configuration and CA bundle before its first request, even with
``--no-sign-request``; a broken one then ends a transfer that needs none of them.
"""

from __future__ import annotations

import os
import ssl

_BUNDLE = "AWS_CA_BUNDLE"


def child_environment(*, anonymous: bool) -> dict[str, str]:
    """Our environment for s5cmd; without AWS's variables and files where it is `anonymous`.

    A CA bundle that can be read stays: behind a proxy that opens TLS, no request works without it.
    """
    environment = dict(os.environ)
    if not anonymous:
        return environment
    bundle = environment.get(_BUNDLE)
    for name in [name for name in environment if name.startswith(("AWS_", "S3_"))]:
        del environment[name]
    if bundle and _is_readable(bundle):
        environment[_BUNDLE] = bundle
    # The default files under the home folder are not read where these name others.
    environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return environment


def _is_readable(bundle: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    return True
