"""FastAPI without a check."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/me")
async def me():
    return {"id": "0193e2a1-7f5c-7d1e-9b60-3a5d1c2b4e6f"}
