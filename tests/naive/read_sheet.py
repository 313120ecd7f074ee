#!/usr/bin/env python3
"""Reads a CSV or XLSX file as another program would, and prints its rows as JSON.

Shares nothing with Tallyroll: csv, zipfile and an XML parser of Python's standard library.
In a workbook a cell is a number or a string; one with a formula is refused. A number that is formatted as a time is
read as that time.
"""
import csv
import datetime
import json
import sys
import xml.etree.ElementTree as xml
import zipfile

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def column(reference):
    index = 0
    for letter in reference:
        if letter.isalpha():
            index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


def cell(element, strings, times):
    if element.find(f"{SHEET}f") is not None:
        sys.exit(f"{element.get('r')} is a formula")
    value = element.findtext(f"{SHEET}v")
    if value is None:
        return None
    if element.get("t") == "s":
        return strings[int(value)]
    if int(element.get("s", 0)) in times:
        seconds = round(float(value) * 86400)
        return (datetime.datetime(1899, 12, 30) + datetime.timedelta(seconds=seconds)).isoformat() + "Z"
    return float(value)


def formatted_as_times(styles):
    codes = {f.get("numFmtId"): f.get("formatCode") for f in styles.iter(f"{SHEET}numFmt")}
    formats = styles.find(f"{SHEET}cellXfs")
    return {at for at, used in enumerate(formats) if "yyyy" in codes.get(used.get("numFmtId"), "")}


def workbook(path):
    with zipfile.ZipFile(path) as parts:
        if parts.testzip() is not None:
            sys.exit("a part of it is damaged")
        texts = xml.fromstring(parts.read("xl/sharedStrings.xml"))
        strings = ["".join(item.itertext()) for item in texts.iter(f"{SHEET}si")]
        times = formatted_as_times(xml.fromstring(parts.read("xl/styles.xml")))
        sheet = xml.fromstring(parts.read("xl/worksheets/sheet1.xml"))
    if sheet.find(f".//{SHEET}pane") is None:
        sys.exit("its header is not frozen")
    rows = []
    for row in sheet.iter(f"{SHEET}row"):
        cells = {column(c.get("r")): cell(c, strings, times) for c in row.iter(f"{SHEET}c")}
        rows.append([cells.get(index) for index in range(max(cells, default=-1) + 1)])
    return rows


def main():
    path = sys.argv[1]
    if path.endswith(".csv"):
        with open(path, newline="", encoding="utf-8") as text:
            rows = list(csv.reader(text))
    else:
        rows = workbook(path)
    json.dump(rows, sys.stdout)


main()
