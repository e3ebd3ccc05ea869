"""A FastAPI application, with Starlette's Host routes and static files, that answers which handler ran."""

import os

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.routing import Host, Route


def ran(name):
    return PlainTextResponse(name, headers={"x-handler": name})


class Files(StaticFiles):
    def file_response(self, full_path, *arguments, **named):
        response = super().file_response(full_path, *arguments, **named)
        response.headers["x-handler"] = "private file" if "private" in str(full_path) else "file"
        return response


async def staff_panel(request):
    return ran("panel of admin.test")


async def staff(request):
    return ran("admin.test")


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.router.routes.append(
    Host("admin.test", Starlette(routes=[Route("/panel", staff_panel), Route("/{rest:path}", staff)]))
)


@app.get("/public")
async def public():
    return ran("public")


@app.get("/open/{rest:path}")
async def opened(rest: str):
    return ran("open")


@app.get("/admin")
@app.get("/admin/{rest:path}")
async def admin():
    return ran("admin")


@app.api_route("/secret", methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
async def secret():
    return ran("secret")


@app.api_route("/items", methods=["GET", "HEAD"])
async def items_read():
    return ran("items read")


@app.api_route("/items", methods=["POST", "DELETE"])
async def items_write():
    return ran("items write")


@app.post("/notes")
async def notes_add():
    return ran("notes add")


@app.delete("/notes")
async def notes_delete():
    return ran("notes delete")


@app.get("/panel")
async def panel():
    return ran("panel")


@app.get("/me")
async def me():
    return ran("me")


app.mount("/files", Files(directory=os.environ["FILES"]))
