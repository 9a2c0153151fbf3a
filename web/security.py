"""Who may ask: the Host header, the token, the Origin of changes, and what pages of other origins may read.

A page that someone visits can make their browser send requests to any address, a loopback one too. Three things keep
such a page out: the names that the server may be called by are a list (a name of the page's own that was pointed at
this address is not on it), a change is refused if the browser says that it comes from elsewhere, and no answer is
readable from another origin unless the server was told so.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from urllib.parse import quote, urlsplit

from flask import Blueprint, Flask, Response, current_app, redirect, render_template, request

from web.errors import HttpError, problem
from web.options import LOOPBACK_NAMES, Options, is_loopback

COOKIE = "voxelforest"
COOKIE_SECONDS = 30 * 24 * 3600
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", "/readyz", "/login"})  # answered without a token: they tell nothing about the data
ALLOWED_HEADERS = "Authorization, Content-Type, If-None-Match, Last-Event-ID, Range, X-Request-Id, X-VoxelForest-Token"
EXPOSED_HEADERS = "Accept-Ranges, Content-Length, Content-Range, ETag, Retry-After, X-Request-Id"
# Open as well: files that are the same everywhere, and what a signed link leads to, which is its own key.
OPEN_BELOW = ("/static/", "/v/viewer/", "/shared/")
LARGEST_LOGIN = 8192  # bytes of a form with one token

blueprint = Blueprint("security", __name__, template_folder="templates")


class Guard:
    """The checks of every request, made once from the options."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._names = {_bare(name) for name in (*LOOPBACK_NAMES, options.host, *options.allow_hosts)}
        self._anywhere = options.host in ("0.0.0.0", "::")
        if not is_loopback(options.host):
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def register(self, app: Flask) -> None:
        """Check every request of an app, and mark its answers."""
        app.extensions["guard"] = self
        app.before_request(self.check)
        app.after_request(self.mark)
        app.register_blueprint(blueprint)

    def check(self) -> Response | None:
        """Refuse a request that may not be answered; None lets it through."""
        self._check_host()
        if request.method == "OPTIONS":  # a preflight carries no token; what it may ask for is in the headers
            return None
        self._check_origin()
        return self._check_token()

    def knows(self, token: str) -> bool:
        """Whether this is the token; takes as long for any wrong one."""
        return hmac.compare_digest(token.encode(), (self._options.token or "").encode())

    def session(self) -> str:
        """What a browser keeps in place of the token, from which the token cannot be found."""
        return hmac.new((self._options.token or "").encode(), b"voxelforest session", hashlib.sha256).hexdigest()

    def _check_host(self) -> None:
        given = request.headers.get("Host", "")
        name = host_name(given)
        if name is None:
            raise HttpError("The Host header is missing or malformed.", 400, code="host", given=given[:200])
        if name in self._names or (self._anywhere and _is_address(name)):
            return
        short = name[:200]
        raise HttpError(
            f"This server does not go by the name {short!r}; if it should, start it with --allow-host {short}.",
            403,
            code="host",
            given=given[:200],
        )

    def _check_origin(self) -> None:
        """Refuse changes that a page from elsewhere makes; a script sends neither header."""
        if request.method in SAFE:
            return
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin is not None and (origin_host(origin) == request.headers.get("Host") or origin in self._cors()):
            return
        if origin is None and site in (None, "same-origin", "none"):
            return
        raise HttpError(
            "Changes are accepted from this server's own pages and from scripts, not from pages of another origin.",
            403,
            code="origin",
            given=(origin or site or "")[:200],
        )

    def _cors(self) -> set[str]:
        return set(self._options.cors) - {"*"}

    def _check_token(self) -> Response | None:
        opened = request.path in OPEN or (request.method in SAFE and request.path.startswith(OPEN_BELOW))
        if self._options.token is None or opened or self._shows_token():
            return None
        if request.method == "GET" and request.accept_mimetypes.best == "text/html":
            return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}", 303)  # type: ignore[return-value]
        response = problem(
            401,
            "This server wants its token: send it as 'Authorization: Bearer TOKEN', or log in at /login.",
            code="token",
        )
        response.headers["WWW-Authenticate"] = 'Bearer realm="voxelforest"'
        return response

    def _shows_token(self) -> bool:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.knows(credentials.strip()):
            return True
        if self.knows(request.headers.get("X-VoxelForest-Token", "")):
            return True
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self.session().encode())

    def mark(self, response: Response) -> Response:
        """Headers of every answer, errors too: a viewer elsewhere must be able to read a refusal."""
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("X-Frame-Options", "SAMEORIGIN")
        if not self._options.cors:
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            return response
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        origin = request.headers.get("Origin")
        if "*" in self._options.cors:
            headers["Access-Control-Allow-Origin"] = "*"
        else:
            headers.add("Vary", "Origin")
            if origin not in self._options.cors:
                return response
            headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        if request.method == "OPTIONS":
            headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS, POST, DELETE"
            headers["Access-Control-Max-Age"] = "86400"
            if request.headers.get("Access-Control-Request-Private-Network") == "true":
                headers["Access-Control-Allow-Private-Network"] = "true"
        return response


def host_name(header: str) -> str | None:
    """The name in a Host header, lower case, without port and brackets; None if it is malformed.

    Examples
    --------
    >>> [host_name(h) for h in ("Lab.example:80", "[::1]:8080", "127.0.0.1", "a b", "")]
    ['lab.example', '::1', '127.0.0.1', None, None]
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?", header, re.ASCII)
    return (match[1] or match[2]).lower() if match else None


def origin_host(origin: str) -> str | None:
    """Host and port of an Origin header, as a Host header has them; None where it names none."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc if parts.scheme in ("http", "https") and parts.netloc else None


def _bare(name: str) -> str:
    return name.lower().strip("[]")


def _is_address(name: str) -> bool:
    """Whether a name is an address: no page can point a name of its own at us by one."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@blueprint.get("/login")
def show_login() -> str:
    """The form that asks a person for the token."""
    return render_template("login.html", next=_local_path(request.args.get("next", "/")), wrong=False)


@blueprint.post("/login")
def log_in() -> Response | tuple[str, int]:
    """Exchange the token for a cookie that scripts of pages cannot read."""
    guard: Guard = current_app.extensions["guard"]
    request.max_content_length = LARGEST_LOGIN
    goal = _local_path(request.form.get("next", "/"))
    if not guard.knows(request.form.get("token", "")):
        return render_template("login.html", next=goal, wrong=True), 403
    response: Response = redirect(goal, 303)  # type: ignore[assignment]
    response.set_cookie(
        COOKIE, guard.session(), max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure
    )
    return response


def _local_path(path: str) -> str:
    """A path of this server; what could lead elsewhere becomes the start page."""
    plain = path.isprintable() and path.isascii() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"
