"""A Django application that answers which handler ran; over ASGI as `app`, over WSGI where it is run."""

import os
import sys

from django.conf import settings
from django.http import HttpResponse, HttpResponseNotAllowed
from django.http.request import split_domain_port
from django.urls import path, re_path
from django.views.static import serve

OVERRIDES = "OVERRIDES" in os.environ

settings.configure(
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    APPEND_SLASH=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", f"{__name__}.hosts"]
    + ["method_override.middleware.MethodOverrideMiddleware"] * OVERRIDES,
)


def handler(name):
    def view(request, **_):
        return HttpResponse(name, headers={"x-handler": name}, content_type="text/plain")

    return view


def hosts(get_response):
    """Another application for another host, told by what Django says the host is."""

    def middleware(request):
        domain, _ = split_domain_port(request.get_host())
        if domain == "admin.test":
            return handler("admin.test")(request)
        return get_response(request)

    return middleware


def items(request):
    if request.method in ("GET", "HEAD"):
        return handler("items read")(request)
    if request.method in ("POST", "DELETE"):
        return handler("items write")(request)
    return HttpResponseNotAllowed(["GET", "HEAD", "POST", "DELETE"])


def notes(request):
    if request.method == "POST":
        return handler("notes add")(request)
    if request.method == "DELETE":
        return handler("notes delete")(request)
    return HttpResponseNotAllowed(["POST", "DELETE"])


def original_url(application):
    """What IIS's wfastcgi does before it calls an application (`handle_response` in wfastcgi.py)."""

    def replaced(environ, start_response):
        for name in ("HTTP_X_ORIGINAL_URL", "HTTP_X_REWRITE_URL"):
            if name in environ:
                environ["PATH_INFO"] = environ[name].partition("?")[0]
                break
        return application(environ, start_response)

    return replaced


def files(request, path):
    response = serve(request, path, document_root=os.environ["FILES"])
    name = getattr(getattr(response, "file_to_stream", None), "name", "")
    response.headers["x-handler"] = "private file" if "private" in name else "file"
    return response


urlpatterns = [
    path("public", handler("public")),
    re_path(r"^open/", handler("open")),
    path("admin/", handler("admin")),
    path("admin/<path:rest>", handler("admin")),
    # As Django's documentation wrote routes for years: `$` matches before a last line break too.
    re_path(r"^secret$", handler("secret")),
    path("items", items),
    path("notes", notes),
    path("panel", handler("panel")),
    path("me", handler("me")),
    re_path(r"^files/(?P<path>.*)$", files),
]

if __name__ == "__main__":
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    from django.core.wsgi import get_wsgi_application

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Quiet)
    application = get_wsgi_application()
    server.set_app(original_url(application) if OVERRIDES else application)
    print(f"listens on {server.server_port} ", flush=True)
    server.serve_forever()
else:
    from django.core.asgi import get_asgi_application

    app = get_asgi_application()
