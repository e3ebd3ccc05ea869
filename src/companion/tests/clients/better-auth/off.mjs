// Calls whose features are off, asked of a real Better Auth server and of a companion: `node off.mjs ORIGIN`. Status and code are equal.
import assert from "node:assert/strict";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";

const [companion] = process.argv.slice(2);
const own = "http://127.0.0.1:3000";
const auth = betterAuth({
  baseURL: own,
  secret: process.env.BETTER_AUTH_SECRET,
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  emailAndPassword: { enabled: true },
  user: { deleteUser: { enabled: true } },
  rateLimit: { enabled: false },
  logger: { disabled: true },
});
const servers = { "Better Auth": [own, (request) => auth.handler(request)], "the companion": [companion, (request) => fetch(request)] };
const email = "ada@example.com";
const password = "correct horse battery";

/** What a server answers to `calls`, with a cookie or without. */
async function answers([origin, handle], calls, signedIn) {
  const send = (method, path, body, cookie) => handle(new Request(`${origin}/api/auth${path}`, {
    method,
    redirect: "manual",
    headers: { origin, ...(cookie && { cookie }), ...(body !== undefined && { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  }));
  const signIn = async () => {
    const answer = await send("POST", "/sign-in/email", { email, password });
    assert.equal(answer.status, 200);
    return answer.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ");
  };
  const cookie = signedIn ? await signIn() : undefined;
  const all = [];
  for (const [method, path, body] of calls) {
    const answer = await send(method, path, body, cookie);
    const text = await answer.text();
    const json = text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : {};
    const location = (answer.headers.get("location") ?? "").replace(origin, "");
    all.push({ call: `${method} ${path}`, status: answer.status, code: json.code, message: json.message, location, json });
  }
  return all;
}

for (const server of Object.values(servers)) {
  const [origin, handle] = server;
  const answer = await handle(new Request(`${origin}/api/auth/sign-up/email`, {
    method: "POST", headers: { origin, "content-type": "application/json" }, body: JSON.stringify({ name: "Ada", email, password }),
  }));
  assert.equal(answer.status, 200);
}
const calls = [
  ["POST", "/change-email", { newEmail: "ada@example.org" }],
  ["POST", "/change-email", {}],
  ["POST", "/delete-user", { password: "wrong horse battery" }],
  ["POST", "/delete-user", { token: "x" }],
  ["POST", "/delete-user", { password: 1 }],
  ["GET", "/delete-user/callback?token=x"],
  ["POST", "/request-password-reset", { email }],
  ["POST", "/reset-password", { newPassword: password, token: "x" }],
  ["GET", "/reset-password/x?callbackURL=/a"],
  ["POST", "/send-verification-email", { email }],
  ["GET", "/verify-email?token=x"],
  ["GET", "/verify-email?token=x&callbackURL=/a"],
  ["POST", "/sign-in/social", { provider: "github" }],
  ["POST", "/link-social", { provider: "github" }],
  ["GET", "/list-accounts"],
  ["GET", "/account-info?accountId=x"],
  ["POST", "/update-session", { theme: "dark" }],
  ["POST", "/get-session", {}],
  ["GET", "/nowhere"],
  ["POST", "/sign-in/email", { email: "bob", password }],
  ["POST", "/sign-in/email", { email, password: "wrong horse battery" }],
];
for (const signedIn of [true, false]) {
  const [theirs, ours] = await Promise.all(Object.values(servers).map((server) => answers(server, calls, signedIn)));
  for (const [index, right] of theirs.entries()) {
    const answer = ours[index];
    const shown = JSON.stringify({ signedIn, right, answer });
    assert.equal(answer.status, right.status, shown);
    assert.equal(answer.location, right.location, shown);
    // Some of its answers have no code; a client of ours always finds one, and a message.
    if (right.code !== undefined) assert.equal(answer.code, right.code, shown);
    if (answer.status >= 400) assert.ok(answer.code?.length > 0 && answer.message?.length > 0, shown);
    if (Array.isArray(right.json)) {
      const kinds = (list) => list.map((item) => [Object.keys(item).sort(), item.providerId, item.scopes]);
      assert.deepEqual(kinds(answer.json), kinds(right.json), shown);
    }
  }
}

// At last the account goes, on both sides alike: with the password, and without it in a fresh session.
for (const body of [{ password }, {}]) {
  const gone = [["POST", "/delete-user", body], ["GET", "/list-sessions"], ["POST", "/sign-in/email", { email, password }]];
  const [theirs, ours] = await Promise.all(Object.values(servers).map((server) => answers(server, gone, true)));
  assert.deepEqual(theirs.map(({ status }) => status), [200, 401, 401]);
  assert.deepEqual(ours.map(({ status }) => status), [200, 401, 401], JSON.stringify(ours));
  assert.deepEqual(ours[0].json, theirs[0].json);
  for (const [origin, handle] of Object.values(servers)) {
    const answer = await handle(new Request(`${origin}/api/auth/sign-up/email`, {
      method: "POST", headers: { origin, "content-type": "application/json" }, body: JSON.stringify({ name: "Ada", email, password }),
    }));
    assert.equal(answer.status, 200, "the address is free");
  }
}
console.log("what is off is off as with Better Auth");
