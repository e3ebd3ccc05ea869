"""Signs a new person up for each case: many of the calls end the session that they were made with."""

import itertools
import os

import requests
import schemathesis

ORIGIN = os.environ["COMPANION"]
numbers = itertools.count()


@schemathesis.auth(refresh_interval=None)
class NewPerson:
    def get(self, case, context):
        account = {"email": f"person{next(numbers)}@example.com", "password": "correct horse battery"}
        answer = requests.post(f"{ORIGIN}/api/auth/signup", json=account, timeout=30)
        answer.raise_for_status()
        return answer.json()["token"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"
