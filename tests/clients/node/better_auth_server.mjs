// A real Better Auth server on an ephemeral port, which it prints: what stands behind the gate in place of the
// companion. Users live in memory. `node better_auth_server.mjs`, with BETTER_AUTH_SECRET.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";

const auth = betterAuth({
  secret: process.env.BETTER_AUTH_SECRET,
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  emailAndPassword: { enabled: true },
  session: { cookieCache: { enabled: true, strategy: "jwt" } },
  // The test's Envoy listens on a port that is not known beforehand.
  trustedOrigins: (request) => (request ? [request.headers.get("origin")] : []),
});
const server = createServer(toNodeHandler(auth));
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
