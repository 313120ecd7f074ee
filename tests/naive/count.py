#!/usr/bin/env python3
"""Counts balances and totals from events, naively: the independent check on the engine's views.

Reads JSON Lines as `tallyroll log show --json` prints them, from the files named or from stdin:
  {"position": ..., "device": "HEX" or null, "class": "ledger", "wall": ms, "event": {"kind": ...}}
Prints {"balances": [...], "totals": [...]}, rows as the engine's, without names, sorted.
Nothing but the standard library, no floats: credits are integers of a thousandth.
"""
import fileinput
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


acts, granted, subject_of, again = [], {}, {}, set()
for line in fileinput.input():
    record = json.loads(line)
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
        granted[event["subject"]] = granted.get(event["subject"], 0) + thousandths(event["credits"])
    elif event["kind"] == "subject.linked" and by_cloud:
        subject_of[event["device"], event["alias"]] = event["subject"]
    elif used(event) is not None and record["class"] != "telemetry":
        device = event.get("device") if by_cloud else device
        charged = thousandths(event["charge"]["credits"])
        if device is not None and charged >= 0:
            at = event.get("acted-at")
            at = wall if at is None else at
            acts.append((month(at), device, event["user"], used(event), charged, charged * resubmitted))

balances = {("subject", subject): (0, 0) for subject in [*granted, *subject_of.values()]}
totals = {}
for when, device, alias, act, charged, unbacked in acts:
    subject = subject_of.get((device, alias))
    who = ("alias", device, alias) if subject is None else ("subject", subject)
    before = balances.get(who, (0, 0))
    balances[who] = before[0] + charged, before[1] + unbacked
    row = totals.setdefault((when, device, who), dict.fromkeys([*USED, "charged", "unbacked"], 0))
    for what, count in [*act.items(), ("charged", charged), ("unbacked", unbacked)]:
        row[what] += count


def shown(who):
    return {"subject": who[1]} if who[0] == "subject" else {"alias": {"device": who[1], "alias": who[2]}}


def amounts(**sums):
    """Exact texts; what is unbacked is shown where there is any."""
    return {name: credits(amount) for name, amount in sums.items() if amount or name != "unbacked"}


def balance(who, charged, unbacked):
    given = granted.get(who[1], 0) if who[0] == "subject" else 0
    return {"who": shown(who)} | amounts(granted=given, charged=charged, balance=given - charged, unbacked=unbacked)


print(json.dumps({
    "balances": [balance(who, *sums) for who, sums in sorted(balances.items())],
    "totals": [
        {"month": when, "device": device, "who": shown(who)}
        | {what: row[what] for what in USED}
        | amounts(charged=row["charged"], unbacked=row["unbacked"])
        for (when, device, who), row in sorted(totals.items())
    ],
}))
