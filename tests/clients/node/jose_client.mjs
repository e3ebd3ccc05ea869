// jose as issuer and as verifier: `jose_client.mjs issue|verify`, arguments as JSON on standard input.
import { SignJWT, jwtVerify } from "jose";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const given = JSON.parse(text);
const secret = new TextEncoder().encode(given.secret);
if (process.argv[2] === "issue") {
  console.log(await new SignJWT(given.claims).setProtectedHeader({ alg: "HS256" }).sign(secret));
} else {
  const { payload, protectedHeader } = await jwtVerify(given.token, secret, {
    algorithms: ["HS256"],
    issuer: "jwt-gate",
    requiredClaims: ["exp", "iat", "sub"],
  });
  console.log(JSON.stringify({ payload, protectedHeader }));
}
