"""FastAPI that checks the token itself, as FastAPI's tutorial does: OAuth2PasswordBearer and PyJWT."""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordBearer

SECRET_KEY = os.environ["SECRET_KEY"]

app = FastAPI()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> str:
    try:
        claims = jwt.decode(token, SECRET_KEY, algorithms=["HS256"], issuer="jwt-gate", options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "invalid token", {"WWW-Authenticate": "Bearer"}) from None
    return claims["sub"]


@app.get("/me")
async def me(user: Annotated[str, Depends(get_current_user)]):
    return {"id": user}
