#!/usr/bin/env python3
"""Counts balances and totals from events, naively: the independent check on the engine's views.

A charge that names a policy is of a job that settles; what the job comes to is reckoned page by page.

Reads JSON Lines as `tallyroll log show --json` prints them, from the files named or from stdin:
  {"position": ..., "device": "HEX" or null, "class": "ledger", "wall": ms, "event": {"kind": ...}}
Prints {"balances": [...], "totals": [...]}, rows as the engine's, without names, sorted.
Nothing but the standard library, no floats: credits are integers of a thousandth.
"""
import fileinput
import gc
import json
from datetime import datetime, timedelta

USED = ["impressions", "sheets", "captured", "converted", "sent", "saved"]


def thousandths(text):
    whole, _, decimals = text.partition(".")
    amount = abs(int(whole)) * 1000 + int(decimals.ljust(3, "0"))
    return -amount if text.startswith("-") else amount


def credits(amount):
    return f"{'-' if amount < 0 else ''}{abs(amount) // 1000}.{abs(amount) % 1000:03}"


def month(milliseconds):
    try:
        return (datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)).strftime("%Y-%m").zfill(7)
    except OverflowError:
        return "9999-12"


def used(event):
    """What an act of a user used, or None for other events."""
    match event["kind"]:
        case "pages.printed":
            return {"impressions": event["impressions"], "sheets": event.get("sheets") or 0}
        case "pages.captured":
            return {"captured": event["pages"]}
        case "pages.converted":
            return {"converted": event["pages"] * len(event["conversions"])}
        case "document.sent":
            return {"sent": event["pages"] * event["destinations"]}
        case "document.saved":
            return {"saved": event["pages"]}


def pages_of(event):
    """The pages an act names, or else the first ones."""
    named = event.get("which-pages")
    ranges = [{"first": 1, "last": event["pages"]}] if named is None else named
    return {page for one in ranges for page in range(one["first"], one["last"] + 1)}


def new_job():
    return {"provisional": [], "converted": [], "delivered": set(), "closed": False}


def settled(job):
    """What a job comes to, besides what was charged as it happened: (payer, charged, held) rows."""
    rows = []
    if not job["delivered"] and not job["closed"]:
        rows += [(payer, 0, amount) for payer, amount in job["provisional"]]
    # Pages are delivered of every revision that they were made of.
    delivered = set(job["delivered"])
    while True:
        back = {(start, page) for made, start, *_ in job["converted"] for was, page in delivered if was == made}
        if back <= delivered:
            break
        delivered |= back
    due = {}
    for made, _, kind, price, payer, pages in job["converted"]:
        for page in pages:
            if (made, page) in delivered:
                due[kind, page] = min(due.get((kind, page), (price, payer)), (price, payer))
    return rows + [(payer, price, 0) for price, payer in due.values()]


def is_new(position):
    """Whether a line is the first one of its position: what came again counts once."""
    epoch, _, seq = position.rpartition("/")
    byte, bit = divmod(int(seq), 8)
    had = seen.setdefault(epoch, bytearray())
    had.extend(bytes(max(0, byte + 1 - len(had))))
    new = not had[byte] >> bit & 1
    had[byte] |= 1 << bit
    return new


def place(position):
    """Where a decision stands within its log, whose epochs come in any order."""
    _, epoch, seq = position.split("/")
    counter, nonce = epoch.split("-")
    return int(counter), nonce, int(seq)


def give(account, amount):
    granted[account] = granted.get(account, 0) + amount


def add(payer, device, act, charged, held):
    row = sums.setdefault((payer, device), dict.fromkeys([*USED, "charged", "held"], 0))
    for what, count in [*act.items(), ("charged", charged), ("held", held)]:
        row[what] += count


gc.disable()  # there are no cycles, and millions of jobs to look through in vain
seen, sums, granted, subject_of, again, jobs = {}, {}, {}, {}, set(), {}
corrected, groups, member_of, gifts = {}, set(), {}, {}
for line in fileinput.input():
    record = json.loads(line)
    if not is_new(record["position"]):
        continue
    event, device, wall = record["event"], record["device"], record["wall"]
    by_cloud = record["class"] in ("public", "accounts", "device")
    resubmitted = event["kind"] == "event.resubmitted" and record["class"] == "ledger"
    if resubmitted:
        what = (event["resubmitted-from"], event["record"])
        if what in again:
            continue
        again.add(what)
        event, wall = event["recorded"]["event"], event["recorded"]["wall"]
    if event["kind"] == "credits.granted" and by_cloud:
        give(event["subject"], thousandths(event["credits"]))
    elif event["kind"] == "charge.corrected" and by_cloud:
        corrected[event["subject"]] = corrected.get(event["subject"], 0) + thousandths(event["credits"])
    elif event["kind"] == "group.founded" and by_cloud:
        groups.add(event["group"])
    elif event["kind"] in ("group.joined", "group.left") and by_cloud:
        group = event["group"] if event["kind"] == "group.joined" else None
        decided = (place(record["position"]), group)
        member_of[event["member"]] = max(member_of.get(event["member"], decided), decided, key=lambda one: one[0])
        if group is None:
            give(event["member"], thousandths(event["settled"]))
            give(event["group"], -thousandths(event["settled"]))
    elif event["kind"] == "allotment.given" and by_cloud:
        of = event["account"], event["year"], event["month"], event.get("nothing-due") is True
        gift = place(record["position"]), thousandths(event["credits"]) - thousandths(event["lapsed"])
        gifts[of] = min(gifts.get(of, gift), gift)
    elif event["kind"] == "subject.linked" and by_cloud:
        subject_of[event["device"], event["alias"]] = event["subject"]
    elif record["class"] == "telemetry":
        continue
    elif event["kind"] in ("document.discarded", "job.ended") and (device := event.get("device") if by_cloud else device):
        job = jobs.setdefault((device, event["job"]), new_job())
        job["closed"] = True
    elif used(event) is not None:
        device = event.get("device") if by_cloud else device
        charged = thousandths(event["charge"]["credits"])
        if device is not None and charged >= 0:
            at = event.get("acted-at")
            at = wall if at is None else at
            payer = (resubmitted, event["user"], month(at))
            policy, kind = event.get("policy"), event["kind"]
            if policy is not None:
                job = jobs.setdefault((device, event["job"]), new_job())
                if kind == "pages.captured" and policy == "server-settles":
                    job["provisional"].append((payer, charged))
                    charged = 0
                elif kind == "pages.converted":
                    for what, price in zip(event["conversions"], event["prices"]):
                        step = event["revision"], event["from-revision"], what, thousandths(price), payer, pages_of(event)
                        job["converted"].append(step)
                    charged = 0
                elif kind in ("document.sent", "document.saved"):
                    job["delivered"] |= {(event["revision"], page) for page in pages_of(event)}
            add(payer, device, used(event), charged, 0)

for (device, _), job in jobs.items():
    for payer, charged, held in settled(job):
        add(payer, device, {}, charged, held)

for (account, *_), (_, net) in gifts.items():
    give(account, net)
balances = {("subject", subject): (0, 0, 0) for subject in [*granted, *corrected, *subject_of.values()]}
totals = {}
for ((resubmitted, user, when), device), act in sums.items():
    charged, held = act["charged"], act["held"]
    subject = subject_of.get((device, user))
    who = ("alias", device, user) if subject is None else ("subject", subject)
    before = balances.get(who, (0, 0, 0))
    unbacked = charged * resubmitted
    balances[who] = before[0] + charged, before[1] + unbacked, before[2] + held
    row = totals.setdefault((when, device, who), dict.fromkeys([*USED, "charged", "unbacked"], 0))
    for what, count in [*act.items(), ("unbacked", unbacked)]:
        row[what] = row.get(what, 0) + count


def shown(who):
    return {"subject": who[1]} if who[0] == "subject" else {"alias": {"device": who[1], "alias": who[2]}}


def amounts(**sums):
    """Exact texts; what is unbacked or corrected is shown where there is any."""
    return {name: credits(amount) for name, amount in sums.items() if amount or name not in ("unbacked", "corrected")}


def account(who):
    """In whose row somebody stands."""
    _, group = member_of.get(who[1], (None, None)) if who[0] == "subject" else (None, None)
    return who if group is None else ("subject", group)


def balance(row, within):
    """A row: somebody's, or a group's with those of its members."""
    charged, unbacked, held = (sum(column) for column in zip(*(balances[who] for who in within)))
    subjects = [who[1] for who in within if who[0] == "subject"]
    given, back = (sum(each.get(subject, 0) for subject in subjects) for each in (granted, corrected))
    left = given - charged + back
    members = [
        {"name": None, "who": shown(who)} | amounts(charged=balances[who][0], held=balances[who][2])
        for who in sorted(within) if who != row
    ]
    kind = {"kind": "group" if row[1] in groups else "user"}
    return {"who": shown(row)} | kind | ({"members": members} if row[1] in groups else {}) | amounts(
        granted=given, charged=charged, corrected=back, balance=left, held=held, available=left - held,
        unbacked=unbacked
    )


rows = {}
for who in balances:
    rows.setdefault(account(who), []).append(who)


print(json.dumps({
    "balances": [balance(row, within) for row, within in sorted(rows.items())],
    "totals": [
        {"month": when, "device": device, "who": shown(who)}
        | {what: row[what] for what in USED}
        | amounts(charged=row["charged"], unbacked=row["unbacked"])
        for (when, device, who), row in sorted(totals.items())
    ],
}))
