"""Writes what a FastAPI application's user table holds: one account for each spelling that passlib can write."""

import json
import sys

from passlib.context import CryptContext

for ident in ["2a", "2b", "2y"]:
    context = CryptContext(schemes=["bcrypt"], bcrypt__ident=ident, bcrypt__rounds=4)
    account = {"email": f"{ident}@example.com", "name": ident, "password_hash": context.hash(sys.argv[1])}
    print(json.dumps(account))
