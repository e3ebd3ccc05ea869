"""How long a refused sign-in takes, by reason: `python3 timing.py ORIGIN EMAIL CHEAP_EMAIL [ROUNDS]`.

EMAIL has an account, CHEAP_EMAIL one whose hash was imported at a lower cost. The reasons take turns, so that a
busy machine slows them alike. Run the companion with --throttle-address 0 --throttle-account 0.
"""

import json
import statistics
import sys
import time
import urllib.error
import urllib.request

origin, email, cheap = sys.argv[1:4]
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 100
cases = {
    "wrong password": email,
    "unknown address": "nobody@example.com",
    "not an address": "nobody",
    "wrong password, hash of lower cost": cheap,
}
taken = {name: [] for name in cases}
for _ in range(rounds):
    for name, address in cases.items():
        body = json.dumps({"email": address, "password": "wrong horse battery"}).encode()
        request = urllib.request.Request(f"{origin}/api/auth/signin", body, {"content-type": "application/json"})
        started = time.perf_counter()
        try:
            urllib.request.urlopen(request)
            sys.exit("a sign-in with a wrong password was let in")
        except urllib.error.HTTPError as answer:
            answer.read()
            if answer.code != 401:
                sys.exit(f"{name}: {answer.code}")
        taken[name].append((time.perf_counter() - started) * 1000)

print("| refused because | p10 ms | median ms | p90 ms |")
print("| --- | --- | --- | --- |")
for name, times in taken.items():
    tenths = statistics.quantiles(times, n=10)
    print(f"| {name} | {tenths[0]:.1f} | {statistics.median(times):.1f} | {tenths[-1]:.1f} |")
