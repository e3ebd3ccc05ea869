// The unmodified better-auth client against a companion: `node client.mjs ORIGIN PACKAGE`, where the package is one of the versions
// in package.json.
// It keeps cookies and names its origin, as a browser does; everything else is the client's own.
import assert from "node:assert/strict";

const [origin, name = "better-auth"] = process.argv.slice(2);
const { createAuthClient } = await import(`${name}/client`);

/** A browser's worth of fetch: a cookie jar and an Origin header. */
function browser() {
  const jar = new Map();
  const fetchWithCookies = async (input, init = {}) => {
    const headers = new Headers(init.headers ?? {});
    if (jar.size) headers.set("cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
    if ((init.method ?? "GET") !== "GET") headers.set("origin", origin);
    const response = await fetch(input, { ...init, headers });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair, ...attributes] = cookie.split("; ");
      const [name, value] = pair.split(/=(.*)/s);
      if (attributes.includes("Max-Age=0")) jar.delete(name);
      else jar.set(name, value);
    }
    return response;
  };
  const client = createAuthClient({ baseURL: origin, fetchOptions: { customFetchImpl: fetchWithCookies } });
  return { client, jar };
}

const password = "correct horse battery";
const { client: laptop, jar } = browser();
const { client: phone } = browser();

assert.deepEqual((await laptop.$fetch("/ok")).data, { ok: true });
assert.equal((await laptop.getSession()).data, null);

// Sign up; errors arrive with the code and message that a frontend shows.
const up = await laptop.signUp.email({ name: "Ada", email: "Ada@example.com", password });
assert.equal(up.error, null);
assert.equal(up.data.user.email, "ada@example.com");
assert.equal(up.data.user.emailVerified, false);
assert.ok(up.data.user.createdAt instanceof Date);
assert.equal(up.data.token.split(".").length, 3);

const fails = async (call, status, code) => {
  const { data, error } = await call;
  assert.equal(data, null);
  assert.deepEqual({ status: error.status, code: error.code }, { status, code });
  assert.ok(error.message.length > 0);
};
await fails(phone.signUp.email({ name: "Ada", email: "ada@EXAMPLE.com", password }), 422,
  "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
await fails(phone.signUp.email({ name: "Bob", email: "bob", password }), 400, "INVALID_EMAIL");
await fails(phone.signUp.email({ name: "Bob", email: "bob@example.com", password: "short" }), 400,
  "PASSWORD_TOO_SHORT");
await fails(phone.signIn.email({ email: "ada@example.com", password: "wrong horse" }), 401,
  "INVALID_EMAIL_OR_PASSWORD");
await fails(phone.signIn.email({ email: "ada@example.com", password, callbackURL: "https://evil.example/" }), 403,
  "INVALID_CALLBACK_URL");
await fails(phone.listSessions(), 401, "UNAUTHORIZED");

// The session.
const session = await laptop.getSession();
assert.equal(session.data.user.name, "Ada");
assert.equal(session.data.session.userId, up.data.user.id);
assert.ok(session.data.session.expiresAt instanceof Date && session.data.session.expiresAt > new Date());

// A second device, listed and revoked from the first.
const second = await phone.signIn.email({ email: "ada@example.com", password, rememberMe: false });
assert.equal(second.error, null);
assert.equal(second.data.redirect, false);
let sessions = (await laptop.listSessions()).data;
assert.equal(sessions.length, 2);
const other = sessions.find(({ token }) => token !== session.data.session.token);
assert.deepEqual((await laptop.revokeSession({ token: other.token })).data, { status: true });
assert.equal((await phone.getSession()).data, null);
assert.equal((await laptop.listSessions()).data.length, 1);

// Somebody else's session is not ours to revoke.
const { client: mallory } = browser();
await mallory.signUp.email({ name: "Mallory", email: "mallory@example.com", password });
await mallory.revokeSession({ token: session.data.session.token });
assert.equal((await laptop.getSession()).data.user.name, "Ada");

// Name and picture.
assert.deepEqual((await laptop.updateUser({ name: "Ada L.", image: "https://example.com/a.png" })).data, { status: true });
const updated = (await laptop.getSession()).data.user;
assert.deepEqual([updated.name, updated.image], ["Ada L.", "https://example.com/a.png"]);
const claims = JSON.parse(Buffer.from(jar.get("jwt-gate").split(".")[1], "base64url"));
assert.equal(claims.name, "Ada L.");
await laptop.updateUser({ image: null });
assert.equal((await laptop.getSession()).data.user.image, null);

// Password: wrong one, without and with an end to the other sessions.
await phone.signIn.email({ email: "ada@example.com", password });
await fails(laptop.changePassword({ currentPassword: "wrong horse", newPassword: "another horse" }), 400,
  "INVALID_PASSWORD");
const kept = await laptop.changePassword({ currentPassword: password, newPassword: "another horse" });
assert.equal(kept.data.token, null);
assert.equal(kept.data.user.name, "Ada L.");
assert.notEqual((await phone.getSession()).data, null);
const changed = await laptop.changePassword({
  currentPassword: "another horse", newPassword: "third horse", revokeOtherSessions: true,
});
assert.equal(changed.data.token.split(".").length, 3);
assert.equal((await phone.getSession()).data, null);
assert.equal((await laptop.getSession()).data.user.name, "Ada L.");
await fails(phone.signIn.email({ email: "ada@example.com", password }), 401, "INVALID_EMAIL_OR_PASSWORD");

// All other sessions, then all.
await phone.signIn.email({ email: "ada@example.com", password: "third horse" });
assert.deepEqual((await laptop.revokeOtherSessions()).data, { status: true });
assert.equal((await phone.getSession()).data, null);
assert.notEqual((await laptop.getSession()).data, null);
await phone.signIn.email({ email: "ada@example.com", password: "third horse" });
assert.deepEqual((await laptop.revokeSessions()).data, { status: true });
assert.equal((await laptop.getSession()).data, null);
assert.equal((await phone.getSession()).data, null);

// Sign out.
const back = await laptop.signIn.email({ email: "ada@example.com", password: "third horse" });
assert.equal(back.error, null);
assert.deepEqual((await laptop.signOut()).data, { success: true });
assert.equal((await laptop.getSession()).data, null);
assert.equal(jar.has("jwt-gate"), false);

// Calls whose features the companion does not have fail with a code and a message that can be shown.
await laptop.signIn.email({ email: "ada@example.com", password: "third horse" });
await fails(laptop.changeEmail({ newEmail: "ada@example.org" }), 400, "CHANGE_EMAIL_DISABLED");
await fails(laptop.deleteUser({ password: "wrong horse" }), 400, "INVALID_PASSWORD");
await fails(laptop.sendVerificationEmail({ email: "ada@example.com" }), 400, "VERIFICATION_EMAIL_NOT_ENABLED");
await fails(laptop.resetPassword({ newPassword: "fourth horse", token: "x" }), 400, "INVALID_TOKEN");
await fails(laptop.signIn.social({ provider: "github" }), 404, "PROVIDER_NOT_FOUND");
await fails(laptop.requestPasswordReset({ email: "ada@example.com", redirectTo: "/reset" }), 400, "RESET_PASSWORD_DISABLED");
const accounts = (await laptop.listAccounts()).data;
assert.deepEqual(accounts.map(({ providerId }) => providerId), ["credential"]);

// A page of the own site to go on to, and none.
for (const [callbackURL, redirect] of [[`${origin}/dashboard`, true], ["/dashboard", true], ["", false]]) {
  const { data, error } = await laptop.signIn.email({ email: "ada@example.com", password: "third horse", callbackURL });
  assert.equal(error, null);
  assert.equal(data.redirect, redirect, callbackURL);
}

// The account goes, and its sessions with it.
const leaving = await laptop.signUp.email({ name: "Bob", email: "bob@example.com", password: "third horse" });
assert.equal(leaving.error, null);
assert.equal((await laptop.deleteUser({ password: "third horse" })).data.success, true);
assert.equal((await laptop.getSession()).data, null);
await fails(laptop.signIn.email({ email: "bob@example.com", password: "third horse" }), 401, "INVALID_EMAIL_OR_PASSWORD");

console.log("the better-auth client works");
