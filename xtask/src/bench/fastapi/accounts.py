"""The companion's `GET /me` and `POST /verify` as FastAPI's tutorial would have them: PyJWT, and SQLite for what
the companion keeps there, by the fastest way to it that Python has (one connection, no pool of threads)."""

import os
import sqlite3
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from passlib.context import CryptContext

SECRET_KEY = os.environ["SECRET_KEY"]
SUBJECT = "0193e2a1-7f5c-7d1e-9b60-3a5d1c2b4e6f"

app = FastAPI()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
passwords = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)

database = sqlite3.connect("accounts.db", check_same_thread=False, isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT UNIQUE, name TEXT, password TEXT)")
database.execute("CREATE TABLE revoked (jti TEXT PRIMARY KEY)")
database.execute(
    "INSERT INTO users VALUES (?, 'ada@example.com', 'Ada Lovelace', ?)",
    (SUBJECT, passwords.hash("correct horse battery staple")),
)


def unauthorized() -> HTTPException:
    return HTTPException(status.HTTP_401_UNAUTHORIZED, "invalid token", {"WWW-Authenticate": "Bearer"})


async def get_claims(token: Annotated[str, Depends(oauth2_scheme)]) -> dict:
    try:
        options = {"require": ["exp", "sub", "jti"]}
        claims = jwt.decode(token, SECRET_KEY, algorithms=["HS256"], issuer="jwt-gate", options=options)
    except jwt.InvalidTokenError:
        raise unauthorized() from None
    if database.execute("SELECT 1 FROM revoked WHERE jti = ?", (claims["jti"],)).fetchone():
        raise unauthorized()
    return claims


@app.get("/api/auth/me")
async def me(claims: Annotated[dict, Depends(get_claims)]):
    row = database.execute("SELECT id, email, name FROM users WHERE id = ?", (claims["sub"],)).fetchone()
    if row is None:
        raise unauthorized()
    return {"user": {"id": row[0], "email": row[1], "name": row[2]}}


@app.post("/api/auth/verify")
async def verify(claims: Annotated[dict, Depends(get_claims)]):
    return {"active": True, "claims": claims}


@app.get("/api/auth/ok")
async def ok():
    return {"ok": True}
