"""PyJWT as issuer and as verifier: `pyjwt_client.py issue|verify`, arguments as JSON on standard input."""

import json
import sys

import jwt

given = json.load(sys.stdin)
if sys.argv[1] == "issue":
    print(jwt.encode(given["claims"], given["secret"], algorithm=given.get("algorithm", "HS256"), headers=given.get("headers")))
else:
    claims = jwt.decode(
        given["token"], given["secret"], algorithms=["HS256"], issuer="jwt-gate", options={"require": ["exp", "iat", "sub"]}
    )
    print(json.dumps(claims))
