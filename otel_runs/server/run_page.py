"""``/runs/...`` on the HTTP port: the page of a run, for links from its trace.

What it shows is not this room's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from otel_runs.errors import AmbiguousIdError, NotFoundError, OtelRunsError, UnauthenticatedError
from otel_runs.receiver.desk import Desk

logger = logging.getLogger(__name__)

ShowRun = Callable[[str], str]
"""From what stands behind ``/runs/`` to a page of HTML; raises NotFoundError and AmbiguousIdError."""

_SECONDS: Final = 10.0
"""That a page may take, the ones asked for before it included: they are made one by one."""
_HEADERS: Final = {
    # Names and errors come from outside. Nothing in the page is to run, or to be fetched.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def run_page_route(desk: Desk, show: ShowRun) -> Route:
    """The route to the page of a run.

    Args:
        desk: knows the token that has to be shown here, too.
        show: makes the page.
    """
    one_by_one = asyncio.Semaphore(1)

    async def made(run_id: str) -> str:
        await one_by_one.acquire()
        making = asyncio.ensure_future(asyncio.to_thread(show, run_id))
        # Not when nobody waits any more: a database that hangs may take one thread, not all.
        making.add_done_callback(lambda _: one_by_one.release())
        return await asyncio.shield(making)

    async def page(http: Request) -> Response:
        host = http.url.hostname or ""
        if not _is_ours(host):
            return _told(403, f"The host is {host!r}; expected an address, or a name without dots.")
        try:
            desk.authenticate(http.headers.get("authorization"))
            async with asyncio.timeout(_SECONDS):
                return HTMLResponse(await made(http.path_params["run_id"]), headers=_HEADERS)
        except UnauthenticatedError as exc:
            return _told(401, f"{exc} On a terminal, otel-runs show says the same as this page.")
        except (NotFoundError, AmbiguousIdError) as exc:
            return _told(404, str(exc))
        except TimeoutError:
            return _told(503, f"The run database did not answer within {_SECONDS:g} seconds.")
        except OtelRunsError as exc:
            logger.warning("The page of a run could not be made: %s", exc)
            return _told(503, "The run database cannot be read now; the server's log says more.")

    return Route("/runs/{run_id:path}", page)  # a user's own id may hold slashes


def _is_ours(host: str) -> bool:
    """Whether a page of somebody else's cannot be behind the name.

    A name of theirs that leads to this machine would let their scripts, in a browser here, read the history. It has a
    dot; an address, and a name of this machine or of a container, are nobody else's.
    """
    try:
        ip_address(host)
    except ValueError:
        return "." not in host
    return True


def _told(code: int, message: str) -> Response:
    return PlainTextResponse(f"{message}\n", code, _HEADERS)
