"""Requests to servers of this machine: as httpx's own functions, which read all certificates for each, in 30 ms."""

from functools import partial

import httpx

get = partial(httpx.get, verify=False)
post = partial(httpx.post, verify=False)
put = partial(httpx.put, verify=False)
request = partial(httpx.request, verify=False)
