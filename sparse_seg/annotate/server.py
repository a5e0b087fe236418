"""The page over HTTP: a few requests with numbers in them, for the page itself and nobody else."""

import asyncio
import hmac
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sparse_seg.annotate.panels import panels
from sparse_seg.annotate.session import Session
from sparse_seg.annotate.tiles import levels_of, tile
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour

OWN = {"page.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
LEAFLET = {"leaflet.js": "text/javascript", "leaflet.css": "text/css"}
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST = 10_000
"""Bytes of a request."""


def create_app(session: Session, port: int, token: str = "") -> Starlette:
    """The page as an application.

    Args:
        session: what it shows.
        port: that it is served at, which tells its cookie from other pages' of this machine.
        token: that every request must have, in its address or, from then on, in a cookie; "": none is needed, and the
            host of every request must be a name of this machine's own.
    """
    cookie = f"token-{port}"

    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        host = request.headers.get("host", "")
        # A page of another origin whose name is made to lead here has that name as host.
        if not token and re.sub(r":\d+$", "", host) not in LOOPBACK:
            return PlainTextResponse("this page is served at 127.0.0.1", 403)
        given = request.query_params.get("token") or request.cookies.get(cookie) or ""
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("the address needs the token that the terminal shows: ?token=…", 403)
        # A picture or script that a page of another origin shows comes without an origin. A link may lead here.
        site, mode = (request.headers.get(f"sec-fetch-{key}") for key in ("site", "mode"))
        origin = request.headers.get("origin")
        foreign = site not in (None, "same-origin", "none") and mode != "navigate"
        if foreign or (origin is not None and origin.partition("://")[2] != host):
            return PlainTextResponse("pages of other origins cannot talk to this one", 403)
        if request.method == "POST" and (origin is None or request.headers.get("x-annotate") != "1"):
            return PlainTextResponse("only the page itself may change something", 403)
        response = await go_on(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if token and request.query_params.get("token"):
            response.set_cookie(cookie, token, httponly=True, samesite="strict")
        return response

    async def page(request: Request) -> Response:
        return FileResponse(Path(__file__).with_name("page.html"), media_type="text/html")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name in LEAFLET:
            import xstatic.pkg.leaflet

            return FileResponse(Path(xstatic.pkg.leaflet.BASE_DIR) / name, media_type=LEAFLET[name])
        if name in OWN:
            return FileResponse(Path(__file__).with_name(name), media_type=OWN[name])
        return PlainTextResponse("there is no such file", 404)

    async def state(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(shown, session, request.path_params["image"]))

    async def act(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST:
                return JSONResponse({"error": "the request is too long"}, 413)
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise UserError("a request is an object")
            await run_in_threadpool(session.act, asked)
        except (UserError, UnicodeDecodeError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except ValueError:
            return JSONResponse({"error": "the request is no JSON"}, 400)
        return JSONResponse({"now": session.now})

    async def events(request: Request) -> Response:
        async def changes() -> AsyncIterator[str]:
            last: Any = None
            quiet = 0
            while not await request.is_disconnected():
                running = session.jobs.running
                if session.now != last or (running and quiet >= 10):
                    last, quiet = session.now, 0
                    yield f"data: {last}\n\n"
                elif quiet % 100 == 99:
                    yield ": still here\n\n"
                quiet += 1
                await asyncio.sleep(0.1)

        return StreamingResponse(changes(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def picture(request: Request) -> Response:
        made = await run_in_threadpool(tile, session, request.path_params)
        if made is None:
            return Response(status_code=204)
        data, kind = made
        kept = "private, max-age=600" if request.path_params["layer"] == "image" else "no-store"
        return Response(data, media_type=f"image/{kind}", headers={"Cache-Control": kept})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name}", static),
            Route("/state/{image:int}", state),
            Route("/act", act, methods=["POST"]),
            Route("/events", events),
            Route("/{layer}/{version:int}/{image:int}/{z:int}/{x:int}/{y:int}", picture),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
    )


def shown(session: Session, k: int) -> dict[str, Any]:
    """What the page shows of the image number k."""
    state = session.state
    images = state.images
    k = k if 0 <= k < len(images) else 0
    image = images[k]
    picture = state.imagery.pictures.get(image)
    size = (picture.height, picture.width) if picture else (1, 1)
    points = [
        [row, col, said.label, layer]
        for layer in ("points", "checks")
        for (row, col), said in state.pixels(layer).get(image, {}).items()
    ]
    offered = session.offered
    return {
        "image": k,
        "images": len(images),
        "name": image,
        "damaged": state.imagery.damaged.get(image, ""),
        "size": size,
        "levels": levels_of(size),
        "look": state.imagery.version,
        "points": points,
        "colours": [hex_colour(row.colour) for row in state.classes],
        "names": [row.name for row in state.classes],
        "painted": session.follow.painted if session.follow.there else 0,
        "trained": session.jobs.ended + 1 if session.trained and image in session.trained.pictures else 0,
        "offered": None
        if offered is None
        else {"image": images.index(offered.image), "row": offered.row, "col": offered.col, "check": offered.check},
        "read_only": state.read_only,
        "panels": panels(session, image),
    }
