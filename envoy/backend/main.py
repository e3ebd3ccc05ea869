"""A backend behind the gate. It has no JWT code: it reads x-user-id, which only the gate can set."""

from typing import Annotated

from fastapi import FastAPI, Header

app = FastAPI()


@app.get("/whoami")
def whoami(x_user_id: Annotated[str, Header()], x_user_name: Annotated[str | None, Header()] = None):
    return {"id": x_user_id, "name": x_user_name}


@app.get("/")
def home():
    return {"message": "Everybody may read this."}
